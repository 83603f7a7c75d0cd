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

"""A backend that breaks a rule fails with a message that names the rule.

Each backend here is one of the real ones with one thing done wrong, as an
author may well do it.
"""

from concurrent import futures
import functools
import logging
import threading
import time
import unittest

from eventlet import patcher  # noqa: H905
import fixtures
import testscenarios

from oslo_periodic.backends import _eventlet
from oslo_periodic.backends import _threading
from oslo_periodic.backends import base as backend_base
from oslo_periodic import testing
from tests import base

#: Seconds; for backends that make the suite wait without an end.
SHORT = 0.1

# What blocks a native thread, also where eventlet has patched the process.
native_threading = patcher.original('threading')
native_time = patcher.original('time')


class Threading(_threading.ThreadingBackend):
    """Native threads whose pool can be replaced."""

    pool_class = futures.ThreadPoolExecutor

    def worker_pool(self, workers):
        return self.pool_class(workers)


class Eventlet(_eventlet.EventletBackend):
    """Green threads whose futures can be replaced."""

    future_class = _eventlet._GreenFuture

    def worker_pool(self, workers):
        pool = super().worker_pool(workers)
        return _Changed(pool, self.future_class)


class _Changed(futures.Executor):
    """Makes the futures of another pool behave differently."""

    def __init__(self, pool, future_class):
        self._pool = pool
        self._future_class = future_class

    def submit(self, fn, /, *args, **kwargs):
        future = self._pool.submit(fn, *args, **kwargs)
        future.__class__ = self._future_class
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


# What a backend declares.


class HasNoName(Threading):
    name = ''


class NamesItsCapabilities(Eventlet):
    capabilities = frozenset({'cooperative', backend_base.Capability.KILL})


class HasAnUndeclaredProcessPool(Eventlet):
    def process_pool(self, processes=None):
        return futures.ThreadPoolExecutor(processes)


class ClosesForGood(Threading):
    _closed = False

    def close(self):
        super().close()
        self._closed = True

    def worker_pool(self, workers):
        pool = super().worker_pool(workers)
        if self._closed:
            pool.shutdown()
        return pool


# Sleeping.


class HardlySleeps(Threading):
    def sleep(self, seconds):
        super().sleep(0)


class SleepsNatively(Eventlet):
    def sleep(self, seconds):
        native_time.sleep(seconds)


class KeepsItsTurn(Eventlet):
    def sleep(self, seconds):
        if seconds:
            super().sleep(seconds)


class FailsToSleep(Eventlet):
    def sleep(self, seconds):
        if not seconds:
            raise ValueError('how long?')
        super().sleep(seconds)


# Events.


class _Event:
    """An event to get wrong."""

    def __init__(self):
        self._event = threading.Event()
        self.set = self._event.set
        self.clear = self._event.clear
        self.is_set = self._event.is_set
        self.wait = self._event.wait


class SetsNewEvents(Threading):
    def event(self):
        event = super().event()
        event.set()
        return event


class HardlyWaits(Threading):
    def event(self):
        event = _Event()
        event.wait = lambda timeout=None: event.is_set()
        return event


class NeverSeesItSet(Threading):
    def event(self):
        event = _Event()
        event.is_set = lambda: False
        return event


class CannotClear(Threading):
    def event(self):
        event = _Event()
        event.clear = lambda: None
        return event


class WaitsNatively(Eventlet):
    def event(self):
        return native_threading.Event()


class WakesOne(Threading):
    class Event(_Event):
        def __init__(self):
            super().__init__()
            self._woken = None
            self.wait = self.wait_for_one

        def wait_for_one(self, timeout=None):
            if not self._event.wait(timeout):
                return False
            self._woken = self._woken or threading.get_ident()
            return self._woken == threading.get_ident()

    def event(self):
        return self.Event()


# The worker pool.


class MakesUpAWorker(Threading):
    def worker_pool(self, workers):
        return super().worker_pool(max(workers, 1))


class NamesItsPoolWrongly(Threading):
    def named_worker_pool(self, workers, name):
        return self.worker_pool(name)


class DropsKeywords(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return super().submit(fn, *args)


class SwallowsExits(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return super().submit(self._call, fn, args, kwargs)

        def _call(self, fn, args, kwargs):
            try:
                return fn(*args, **kwargs)
            except (KeyboardInterrupt, SystemExit):
                return None


class IgnoresTimeouts(Eventlet):
    class future_class(backend_base.EventFuture):
        def result(self, timeout=None):
            return super().result()

        def exception(self, timeout=None):
            return super().exception()


class BlocksTheHub(Eventlet):
    class future_class(backend_base.EventFuture):
        def result(self, timeout=None):
            end = time.monotonic() + timeout
            while not self.done() and time.monotonic() < end:
                native_time.sleep(0.001)
            return super().result(0)


class RunsTooMany(Threading):
    def sleep(self, seconds):
        # So long that calls overlap.
        super().sleep(seconds and max(seconds, SHORT))

    def worker_pool(self, workers):
        return super().worker_pool(workers and workers * 5)


class BlocksInSubmit(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future = super().submit(fn, *args, **kwargs)
            futures.wait([future], timeout=SHORT)
            return future


class RunsTheLatestFirst(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def __init__(self, workers):
            super().__init__(workers)
            self._calls = []

        def submit(self, fn, /, *args, **kwargs):
            self._calls.append(functools.partial(fn, *args, **kwargs))
            return super().submit(lambda: self._calls.pop()())


class RunsWhatWasCancelled(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future = futures.Future()
            call = super().submit(fn, *args, **kwargs)
            call.add_done_callback(functools.partial(self._copy, future))
            return future

        def _copy(self, future, call):
            if not future.set_running_or_notify_cancel():
                return
            if call.exception() is not None:
                future.set_exception(call.exception())
            else:
                future.set_result(call.result())


class StaysOpen(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            try:
                return super().submit(fn, *args, **kwargs)
            except RuntimeError:
                future = backend_base.EventFuture(threading.Event())
                future.run(fn, *args, **kwargs)
                return future


class LeavesEarly(Threading):
    def sleep(self, seconds):
        # So long that the calls cannot have ended by themselves.
        super().sleep(seconds and max(seconds, SHORT))

    class pool_class(futures.ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=True)


class CancelsNothing(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait)


class TakesAHundred(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        _left = 100

        def submit(self, fn, /, *args, **kwargs):
            self._left -= 1
            if self._left < 0:
                raise RuntimeError('the queue is full')
            return super().submit(fn, *args, **kwargs)


class RunsInSubmit(Threading):
    class pool_class(futures.ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future = backend_base.EventFuture(threading.Event())
            future.run(fn, *args, **kwargs)
            return future


def _scenario(backend, *broken, only=False, patience=SHORT):
    """Describe what a backend gets wrong.

    :param broken: the tests that have to fail.
    :param only: whether no other test may fail.
    :param patience: seconds that the suite waits for what does not come.
    """
    attributes = {
        'wrong': backend,
        'broken': frozenset(f'test_{name}' for name in broken),
        'only': only,
        'patience': patience,
    }
    return (backend.__name__, attributes)


_exactly = functools.partial(
    _scenario, only=True, patience=testing.BackendConformance.patience
)


# Descriptors, and the end of a call.


class NeverReads(Threading):
    def wait_readable(self, fd, timeout=None):
        return False


class AlwaysReads(Threading):
    def wait_readable(self, fd, timeout=None):
        return True


class WaitsForData(Threading):
    """Does not count the end of a pipe."""

    def wait_readable(self, fd, timeout=None):
        poll = patcher.original('select').poll()
        poll.register(fd, patcher.original('select').POLLIN)
        wait = None if timeout is None else timeout * 1000
        return any(event & 1 for _fd, event in poll.poll(wait))


class BlocksAllWhoRead(Eventlet):
    def wait_readable(self, fd, timeout=None):
        if timeout:
            timeout = min(timeout, 0.1)
        found = patcher.original('select').select([fd], [], [], timeout)[0]
        return bool(found)


class KillsUndeclared(Threading):
    def kill(self, call):
        call.cancel()


class DoesNotKill(Eventlet):
    def kill(self, call):
        pass


class KillsTheUnstarted(_eventlet.EventletBackend):
    def kill(self, call):
        call.thread.kill()


class KillsTheEnded(_eventlet.EventletBackend):
    def kill(self, call):
        if call.done():
            raise RuntimeError('it has ended')
        super().kill(call)


SCENARIOS = [
    _exactly(HasNoName, 'name'),
    _exactly(NamesItsCapabilities, 'capabilities'),
    _exactly(HasAnUndeclaredProcessPool, 'process_pool'),
    _exactly(ClosesForGood, 'close'),
    _scenario(HardlySleeps, 'sleep_lasts'),
    _scenario(
        SleepsNatively,
        'sleep_lets_others_run',
        'sleep_zero_gives_a_turn',
        'tick_gives_turns',
    ),
    _scenario(
        KeepsItsTurn,
        'sleep_zero_gives_a_turn',
        'tick_gives_turns',
        only=True,
        patience=1,
    ),
    _scenario(FailsToSleep, 'tick', 'tick_is_ended'),
    _scenario(SetsNewEvents, 'event_starts_unset', 'event_wait_times_out'),
    _scenario(HardlyWaits, 'event_wait_times_out'),
    _exactly(NeverSeesItSet, 'event_set'),
    _scenario(CannotClear, 'event_clear'),
    _scenario(
        WaitsNatively,
        'event_wait_blocks_the_waiter_only',
        'pool_waiting_in_a_worker',
    ),
    _exactly(WakesOne, 'event_wakes_all'),
    _exactly(MakesUpAWorker, 'pool_needs_workers', 'pool_with_a_name'),
    _scenario(
        NamesItsPoolWrongly, 'pool_with_a_name', 'runner', 'runner_timeout'
    ),
    _exactly(DropsKeywords, 'pool_result'),
    _exactly(SwallowsExits, 'pool_exception'),
    _scenario(IgnoresTimeouts, 'pool_result_times_out'),
    _scenario(BlocksTheHub, 'pool_waiting_in_a_worker'),
    _scenario(RunsTooMany, 'pool_is_bounded'),
    _scenario(BlocksInSubmit, 'pool_submit_does_not_block'),
    _scenario(RunsTheLatestFirst, 'pool_order'),
    _scenario(RunsWhatWasCancelled, 'pool_cancel', 'pool_shutdown_cancels'),
    _exactly(StaysOpen, 'pool_shutdown'),
    _scenario(LeavesEarly, 'pool_shutdown_waits'),
    _exactly(CancelsNothing, 'pool_shutdown_cancels'),
    _exactly(TakesAHundred, 'pool_many_calls'),
    _scenario(
        RunsInSubmit, 'tick_skips_what_runs', 'runner', 'runner_timeout'
    ),
    _scenario(AlwaysReads, 'wait_readable_times_out', 'wait_readable'),
    _scenario(NeverReads, 'wait_readable', 'wait_readable_end'),
    _scenario(WaitsForData, 'wait_readable_end'),
    _scenario(BlocksAllWhoRead, 'wait_readable_blocks_the_waiter_only'),
    _scenario(KillsUndeclared, 'kill_is_declared'),
    _scenario(DoesNotKill, 'kill'),
    _scenario(KillsTheEnded, 'kill_after_the_end'),
    _scenario(KillsTheUnstarted, 'kill_before_the_start'),
]


def _rules():
    """Return each test of the suite and the text of its rule."""
    return {
        name: getattr(testing.BackendConformance, name).__doc__
        for name in unittest.TestLoader().getTestCaseNames(
            testing.BackendConformance
        )
    }


class TestWrongBackends(testscenarios.WithScenarios, base.TestCase):
    scenarios = SCENARIOS

    def setUp(self):
        super().setUp()
        # The ticks of the suite log 1,000 lines each.
        self.useFixture(fixtures.FakeLogger(level=logging.ERROR))

    def failures(self):
        """Run the suite and return the message of each failed test."""

        class Suite(testing.BackendConformance, unittest.TestCase):
            make_backend = staticmethod(self.wrong)
            patience = self.patience

        result = unittest.TestResult()
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Suite)
        suite.run(result)
        self.assertEqual(len(_rules()), result.testsRun)
        self.assertEqual([], result.errors)
        return {
            test.id().rpartition('.')[2]: message
            for test, message in result.failures
        }

    def test_rule_is_named(self):
        failures = self.failures()
        self.assertLessEqual(self.broken, set(failures))
        if self.only:
            self.assertEqual(self.broken, set(failures))
        rules = _rules()
        for name in self.broken:
            # The docstring is the rule as a sentence.
            rule = rules[name][1:].rstrip('.')
            self.assertIn(f'{rule}. (', failures[name])
            self.assertIn(f'{self.wrong.__name__} object', failures[name])


class TestRules(base.TestCase):
    def test_every_rule_is_broken(self):
        broken = set()
        for _name, scenario in SCENARIOS:
            broken |= scenario['broken']
        self.assertEqual(set(_rules()), broken)

    def test_every_rule_is_another(self):
        texts = list(_rules().values())
        self.assertEqual(len(texts), len(set(texts)))
        self.assertTrue(all(texts))
