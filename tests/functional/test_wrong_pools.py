# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""A process pool that breaks a rule fails with a message that names the rule.

Each pool here is the spawn pool with one thing done wrong, as an author may
well do it.
"""

import dataclasses
import unittest

import testscenarios

from oslo_periodic.backends import base as backend_base
from oslo_periodic import exceptions
from oslo_periodic import testing
import tests
from tests import base

#: Seconds; for pools that make the suite wait without an end.
SHORT = 2


class Pool:
    """The spawn pool, to get something wrong."""

    processes = 2

    def __init__(self, backend):
        self.pool = backend.process_pool(self.processes)

    def run(self, payload, calls, settings):
        run = self.pool.run(payload, calls, settings)
        try:
            for event in run:
                yield from self.change(event)
        finally:
            run.close()

    def change(self, event):
        yield event

    def end_idle(self):
        self.pool.end_idle()

    def close(self):
        self.pool.close()


class Ends(Pool):
    """Changes how calls have ended."""

    def change(self, event):
        if isinstance(event, backend_base.Ended):
            event = self.change_end(event)
        yield event

    def change_end(self, event):
        failure = self.change_failure(event.failure)
        return dataclasses.replace(event, failure=failure)

    def change_failure(self, failure):
        return failure


class Settings(Pool):
    """Ignores a setting."""

    ignored = {}

    def run(self, payload, calls, settings):
        settings = dataclasses.replace(settings, **self.ignored)
        yield from super().run(payload, calls, settings)


class DropsBegan(Pool):
    def change(self, event):
        if isinstance(event, backend_base.Ended):
            yield event


class ReportsNothingRan(Pool):
    def run(self, payload, calls, settings):
        if not calls:
            yield backend_base.Ended(0, None, None)
        yield from super().run(payload, calls, settings)


class InThisProcess(Pool):
    def run(self, payload, calls, settings):
        for index, call in enumerate(calls):
            yield backend_base.Began(index)
            changed = payload.load(call)()
            yield backend_base.Ended(index, None, changed)


class LoadsOnce(Pool):
    def run(self, payload, calls, settings):
        task = payload.load(calls[0])
        for index in range(len(calls)):
            yield backend_base.Began(index)
            yield backend_base.Ended(index, None, task())


class OneAtATime(Pool):
    processes = 1


class TooManyAtATime(Pool):
    processes = 6


class Truncates(Pool):
    def run(self, payload, calls, settings):
        payload = payload.with_data(payload.data[: 1 << 20])
        yield from super().run(payload, calls, settings)


class KeepsTheFirstPayload(Pool):
    payload = None

    def run(self, payload, calls, settings):
        self.payload = self.payload or payload
        yield from super().run(self.payload, calls, settings)


class ReportsBeganLate(Pool):
    def change(self, event):
        if isinstance(event, backend_base.Ended):
            yield backend_base.Began(event.index)
            yield event


class ForgetsChanges(Ends):
    def change_end(self, event):
        return dataclasses.replace(event, changed=None)


class LosesTracebacks(Ends):
    def change_failure(self, failure):
        if failure is not None:
            failure.__cause__ = None
        return failure


class StandsInWithItsOwn(Ends):
    def change_failure(self, failure):
        if isinstance(failure, exceptions.RemoteError):
            return RuntimeError(str(failure))
        return failure


class PassesExitsOn(Ends):
    def change_failure(self, failure):
        if 'SystemExit' in str(failure):
            return SystemExit(3)
        return failure


class HidesDeaths(Ends):
    def change_failure(self, failure):
        if isinstance(failure, exceptions.WorkerDied):
            return exceptions.RemoteError(str(failure))
        return failure


class HidesTimeouts(Ends):
    def change_failure(self, failure):
        if isinstance(failure, exceptions.TaskTimeout):
            return TimeoutError(str(failure))
        return failure


class IgnoresTimeouts(Settings):
    ignored = {'task_timeout': 0}


class IgnoresTheEnd(Settings):
    ignored = {'end_fd': -1}


class IgnoresMaxTasks(Settings):
    ignored = {'max_tasks': 0}


class IgnoresIdleTimeout(Settings):
    ignored = {'idle_timeout': 300}


class HidesStartErrors(Pool):
    def run(self, payload, calls, settings):
        try:
            yield from super().run(payload, calls, settings)
        except exceptions.WorkerStartError:
            pass


class ReportsWhatDidNotBegin(Pool):
    def run(self, payload, calls, settings):
        left = set(range(len(calls)))
        try:
            for event in super().run(payload, calls, settings):
                left.discard(event.index)
                yield event
        except exceptions.WorkerStartError as exc:
            for index in left:
                yield backend_base.Ended(index, exc, None)
            raise


class LeavesCallsBehind(Pool):
    def __init__(self, backend):
        super().__init__(backend)
        self.runs = []

    def run(self, payload, calls, settings):
        run = self.pool.run(payload, calls, settings)
        self.runs.append(run)
        while True:
            try:
                event = next(run)
            except StopIteration:
                return
            yield event


class KeepsIdleWorkers(Pool):
    def end_idle(self):
        pass


class NeverCloses(Pool):
    def close(self):
        pass


def _scenario(pool, *broken, patience=testing.ProcessPoolConformance.patience):
    """Describe what a pool gets wrong.

    :param broken: the tests that have to fail; no other test runs.
    :param patience: seconds that the suite waits for what does not come.
    """
    names = [f'test_{name}' for name in broken]
    return (
        pool.__name__,
        {'wrong': pool, 'broken': names, 'patience': patience},
    )


SCENARIOS = [
    _scenario(DropsBegan, 'events'),
    _scenario(ReportsNothingRan, 'no_calls'),
    _scenario(InThisProcess, 'other_processes', 'failure'),
    _scenario(LoadsOnce, 'fresh_copy'),
    _scenario(OneAtATime, 'side_by_side', patience=SHORT),
    _scenario(TooManyAtATime, 'bounded'),
    _scenario(Truncates, 'large_payload'),
    _scenario(KeepsTheFirstPayload, 'two_runs'),
    _scenario(ReportsBeganLate, 'began', patience=SHORT),
    _scenario(ForgetsChanges, 'changes'),
    _scenario(LosesTracebacks, 'failure'),
    _scenario(StandsInWithItsOwn, 'remote_error', 'exit'),
    _scenario(PassesExitsOn, 'exit'),
    _scenario(HidesDeaths, 'death'),
    _scenario(HidesTimeouts, 'timeout', 'end'),
    _scenario(IgnoresTimeouts, 'timeout', patience=SHORT),
    _scenario(IgnoresTheEnd, 'end', 'end_before_the_call', patience=SHORT),
    _scenario(
        HidesStartErrors,
        'load_error',
        'death_before_the_call',
        'end_before_the_call',
        'close',
    ),
    _scenario(ReportsWhatDidNotBegin, 'load_error', 'death_before_the_call'),
    _scenario(LeavesCallsBehind, 'close_of_a_run', patience=SHORT),
    _scenario(IgnoresMaxTasks, 'max_tasks'),
    _scenario(IgnoresIdleTimeout, 'idle_timeout', patience=SHORT),
    _scenario(KeepsIdleWorkers, 'end_idle', patience=SHORT),
    _scenario(NeverCloses, 'close', patience=SHORT),
]


def _rules():
    """Return each test of the suite and the text of its rule."""
    return {
        name: getattr(testing.ProcessPoolConformance, name).__doc__
        for name in unittest.TestLoader().getTestCaseNames(
            testing.ProcessPoolConformance
        )
    }


@unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
class TestWrongPools(testscenarios.WithScenarios, base.TestCase):
    scenarios = SCENARIOS
    backend = 'threading'

    def test_rule_is_named(self):
        case = self

        class Suite(testing.ProcessPoolConformance, unittest.TestCase):
            patience = self.patience

            def make_pool(self):
                self.addCleanup(case.selected.backend.close)
                return case.wrong(case.selected.backend)

        result = unittest.TestResult()
        for name in self.broken:
            Suite(name).run(result)
        self.assertEqual([], result.errors)
        self.assertEqual(len(self.broken), len(result.failures))
        for name, (_test, message) in zip(
            self.broken, result.failures, strict=True
        ):
            # The docstring is the rule as a sentence.
            rule = _rules()[name][1:].rstrip('.')
            self.assertIn(f'{rule}. (', message)
            self.assertIn(f'{self.wrong.__name__} object', message)


class TestRules(base.TestCase):
    def test_every_rule_is_broken(self):
        broken = {name for _, s in SCENARIOS for name in s['broken']}
        self.assertEqual(set(_rules()), broken)

    def test_every_rule_is_another(self):
        texts = list(_rules().values())
        self.assertEqual(len(texts), len(set(texts)))
        self.assertTrue(all(texts))
