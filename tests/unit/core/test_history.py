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

"""The history of the runs of each task."""

from oslo_periodic.core import _history
from oslo_periodic import status
from tests import base
from tests.helpers import task_sets

SUCCESS, FAILURE = status.Outcome.SUCCESS, status.Outcome.FAILURE


class HistoryTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.history = _history.History()

    def end(self, outcome=SUCCESS, row=0, started=1.0, error=None):
        begun = _history.Begun(
            row, task_sets.function, started, 0.5, 0.0, None
        )
        self.history.note_end(begun, started + 2, outcome, error)


class TestRuns(HistoryTestCase):
    def test_a_run(self):
        self.end(FAILURE, started=3.0, error='ValueError: x')
        (run,) = self.history.records[0].last_runs
        self.assertEqual(
            status.Run(3.0, 5.0, 0.5, FAILURE, 'ValueError: x'),
            status.Run(*run),
        )

    def test_counts(self):
        for outcome, failures, in_a_row in (
            (SUCCESS, 0, 0),
            (FAILURE, 1, 1),
            (status.Outcome.TIMEOUT, 2, 2),
            (SUCCESS, 2, 0),
            (status.Outcome.DIED, 3, 1),
        ):
            self.end(outcome)
            record = self.history.records[0]
            self.assertEqual(
                (failures, in_a_row),
                (record.failures, record.failures_in_a_row),
            )
        self.assertEqual(5, record.runs)

    def test_the_last_ones_are_kept(self):
        for number in range(25):
            self.end(started=float(number))
        record = self.history.records[0]
        self.assertEqual(25, record.runs)
        self.assertEqual(
            [float(number) for number in range(15, 25)],
            [run[0] for run in record.last_runs],
        )

    def test_rows_are_apart(self):
        self.end(FAILURE, row=1)
        self.end(SUCCESS, row=2)
        self.assertEqual(1, self.history.records[1].failures)
        self.assertEqual(0, self.history.records[2].failures)
        self.assertEqual((0, []), _never())

    def test_a_removed_row(self):
        self.end(row=1)
        self.end(row=2)
        self.history.note_skipped(1, status.Skip.LATE, 1)
        self.history.forget(1)
        self.history.forget(3)
        self.assertEqual([2], list(self.history.records))
        self.assertEqual({}, self.history.skipped)


class TestSkipped(HistoryTestCase):
    def test_reasons(self):
        for row, reason, count in (
            (0, status.Skip.LATE, 2),
            (0, status.Skip.OVERLAP, 3),
            (1, status.Skip.LATE, 5),
            (0, status.Skip.LATE, 7),
        ):
            self.history.note_skipped(row, reason, count)
        self.assertEqual(
            {0: {'late': 9, 'overlap': 3}, 1: {'late': 5}},
            self.history.skipped,
        )


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError('no text')


class TestErrorLine(base.TestCase):
    def test_lines(self):
        for exc, line in (
            (ValueError('on purpose'), 'ValueError: on purpose'),
            (ValueError(), 'ValueError'),
            (ValueError('  \n '), 'ValueError'),
            (ValueError('one\ntwo'), 'ValueError: one'),
            (KeyError('x'), "KeyError: 'x'"),
            (SystemExit(3), 'SystemExit: 3'),
            (Unprintable(), 'Unprintable: (its text is not available)'),
        ):
            self.assertEqual(line, _history.error_line(exc))

    def test_a_long_one(self):
        line = _history.error_line(ValueError('x' * 10000))
        self.assertEqual(f'ValueError: {"x" * 488}...', line)


def _never():
    return _history.NEVER.runs, _history.NEVER.last_runs
