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

"""The rules of process pools."""

from __future__ import annotations

import itertools
import os
import traceback
from typing import Any

from oslo_periodic._conformance import _calls
from oslo_periodic._conformance import _processes
from oslo_periodic._conformance import _rules
from oslo_periodic.backends import base
from oslo_periodic import exceptions

#: Seconds; the timeout of a call that exceeds it.
_TIMEOUT = 0.5


class RunRules(_processes.ProcessPoolSuite):
    """How calls run."""

    @_rules.rule('each call has one Began and then one Ended')
    def test_events(self) -> None:
        names = ['note_context'] * 5
        events = self._events(*names, context='c')
        for index in range(len(names)):
            self.assertEqual(
                [base.Began(index), base.Ended(index, None, None)],
                [event for event in events if event.index == index],
            )
        self.assertEqual(2 * len(names), len(events))
        self.assertEqual(['context c'] * 5, self._instance.notes())

    @_rules.rule('without calls there are no events')
    def test_no_calls(self) -> None:
        self.assertEqual([], self._events())

    @_rules.rule('calls run in other processes')
    def test_other_processes(self) -> None:
        self._ended('note_pid', 'note_pid')
        self.assertEqual(2, len(self._pids()))
        self.assertNotIn(os.getpid(), self._pids())

    @_rules.rule('as many calls run at a time as there are processes')
    def test_side_by_side(self) -> None:
        self.assertEqual([None, None], self._failures('meet', 'meet'))

    @_rules.rule('no more calls run at a time than there are processes')
    def test_bounded(self) -> None:
        self._ended(*['work'] * 12)
        running = itertools.accumulate(
            1 if line == '+' else -1 for line in self._instance.notes()
        )
        self.assertLessEqual(max(running), 2)

    @_rules.rule('load is called for every call, so each has a fresh copy')
    def test_fresh_copy(self) -> None:
        self._ended(*['count_up'] * 4)
        self._ended('count_up')
        self.assertEqual(['count 1'] * 5, self._instance.notes())

    @_rules.rule('a payload of 10 MB arrives whole')
    def test_large_payload(self) -> None:
        self._ended('note_size', context='a' + ' ' * (10 << 20) + 'z')
        size = (10 << 20) + 2
        self.assertEqual([f'size {size} a z'], self._instance.notes())

    @_rules.rule('two runs at the same time do not mix')
    def test_two_runs(self) -> None:
        first = self._run('note_context', 'note_context', context=1)
        second = self._run('note_context', context=2)
        events = self._within(lambda: [next(first), *second, *first])
        self.assertEqual(6, len(events))
        self.assertEqual(
            ['context 1', 'context 1', 'context 2'],
            sorted(self._instance.notes()),
        )

    @_rules.rule('Began is reported while the call runs')
    def test_began(self) -> None:
        run = self._run('hang')
        self.assertEqual(base.Began(0), self._within(lambda: next(run)))
        self._within(run.close)

    @_rules.rule(
        'Ended has the names of changed attributes if watch is set, else None'
    )
    def test_changes(self) -> None:
        for watch, changed in ((True, ['count', 'fresh']), (False, None)):
            (ended,) = self._ended('change', watch=watch)
            self.assertEqual(changed, ended.changed)
        (ended,) = self._ended('note_pid', watch=True)
        self.assertEqual([], ended.changed)


class FailureRules(_processes.ProcessPoolSuite):
    """How calls fail."""

    @_rules.rule("a call's exception is its failure, with its traceback")
    def test_failure(self) -> None:
        failure, nothing = self._failures('fail', 'note_pid')
        self.assertIsNone(nothing)
        self.assertIs(ValueError, type(failure))
        self.assertEqual('on purpose', str(failure))
        self.assertIn('in fail', ''.join(traceback.format_exception(failure)))

    @_rules.rule(
        'RemoteError, with type and text, stands for an exception that cannot '
        'be pickled and unpickled'
    )
    def test_remote_error(self) -> None:
        failures = self._failures('fail_awkwardly', 'fail_with_a_lock')
        for failure, name, text in zip(
            failures,
            ('Awkward', 'ValueError'),
            ('cannot travel', 'has a lock'),
            strict=True,
        ):
            self.assertIs(exceptions.RemoteError, type(failure))
            self.assertIn(name, str(failure))
            self.assertIn(text, str(failure))

    @_rules.rule('RemoteError stands for SystemExit and KeyboardInterrupt')
    def test_exit(self) -> None:
        failures = self._failures('exit_system', 'interrupt')
        for failure, name in zip(
            failures, ('SystemExit', 'KeyboardInterrupt'), strict=True
        ):
            self.assertIs(exceptions.RemoteError, type(failure))
            self.assertIn(name, str(failure))

    @_rules.rule('a call whose worker dies fails with WorkerDied, alone')
    def test_death(self) -> None:
        failures = self._failures('note_pid', 'die', 'note_pid', 'note_pid')
        died = failures.pop(1)
        self.assertIsInstance(died, exceptions.WorkerDied)
        self.assertEqual('Calls.die', died.task)
        self.assertEqual([None] * 3, failures)
        self.assertEqual([None], self._failures('note_pid'))

    @_rules.rule('a call that exceeds task_timeout is ended, with TaskTimeout')
    def test_timeout(self) -> None:
        hung, other = self._failures('hang', 'meet', task_timeout=_TIMEOUT)
        self.assertIsInstance(hung, exceptions.TaskTimeout)
        self.assertEqual('Calls.hang', hung.task)
        self.assertGreaterEqual(hung.seconds, _TIMEOUT)
        self.assertIsNone(other)
        self._wait_until_gone(self._pids())
        self.assertEqual([None], self._failures('note_context'))

    @_rules.rule(
        'if a worker cannot load the payload, the run raises '
        'WorkerStartError, and the call has no event'
    )
    def test_load_error(self) -> None:
        run = self._run('no_such_call')
        events = self._events_until_error(run, exceptions.WorkerStartError)
        self.assertEqual([], events)
        self.assertEqual([None], self._failures('note_pid'))

    @_rules.rule(
        'if workers die before the call begins, the run raises '
        'WorkerStartError, and the call has no event'
    )
    def test_death_before_the_call(self) -> None:
        run = self._run('note_pid', context=_calls.Poison())
        events = self._events_until_error(run, exceptions.WorkerStartError)
        self.assertEqual([], events)
        self.assertEqual([None], self._failures('note_pid'))


class EndRules(_processes.ProcessPoolSuite):
    """How calls and workers end."""

    @_rules.rule(
        'once end_fd is readable, the calls that run fail with TaskTimeout'
    )
    def test_end(self) -> None:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        run = self._run('hang', end_fd=read)
        self.assertEqual(base.Began(0), self._within(lambda: next(run)))
        self._wait_until(self._pids)
        os.write(write, b'x')
        rest: list[Any] = self._within(lambda: list(run))
        self.assertEqual([base.Ended], [type(event) for event in rest])
        self.assertIsInstance(rest[0].failure, exceptions.TaskTimeout)
        self._wait_until_gone(self._pids())

    @_rules.rule(
        'once end_fd is readable, no call begins; if calls are left, the run '
        'raises WorkerStartError'
    )
    def test_end_before_the_call(self) -> None:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        run = self._run('hang', 'hang', 'note_context', end_fd=read)
        events = [self._within(lambda: next(run)) for _ in range(2)]
        os.write(write, b'x')
        events += self._events_until_error(run, exceptions.WorkerStartError)
        self.assertEqual([0, 0, 1, 1], sorted(event.index for event in events))

    @_rules.rule('closing the generator ends the calls that run')
    def test_close_of_a_run(self) -> None:
        run = self._run('hang', 'hang')
        for _ in range(2):
            self._within(lambda: next(run))
        self._wait_until(lambda: len(self._pids()) == 2)
        self._within(run.close)
        self._wait_until_gone(self._pids())
        self.assertEqual([None], self._failures('note_context'))

    @_rules.rule('a worker ends after max_tasks calls')
    def test_max_tasks(self) -> None:
        self._ended(*['note_pid'] * 3, max_tasks=1)
        self.assertEqual(3, len(set(self._pids())))
        self._wait_until_gone(self._pids())

    @_rules.rule('a worker ends after idle_timeout seconds without a call')
    def test_idle_timeout(self) -> None:
        self._ended('note_pid', idle_timeout=_rules.SHORT)
        self._wait_until_gone(self._pids())
        self.assertEqual([None], self._failures('note_pid'))

    @_rules.rule('end_idle ends the workers that run no call')
    def test_end_idle(self) -> None:
        self._ended('note_pid')
        self._within(self.pool.end_idle)
        self._wait_until_gone(self._pids())
        self.assertEqual([None], self._failures('note_pid'))

    @_rules.rule(
        'close ends all workers, and may be called again; a run after it '
        'raises WorkerStartError'
    )
    def test_close(self) -> None:
        self._ended('note_pid', 'note_pid')
        self._within(self.pool.close)
        self._within(self.pool.close)
        self._wait_until_gone(self._pids())
        with self.assertRaises(exceptions.WorkerStartError):
            self._events('note_pid')
