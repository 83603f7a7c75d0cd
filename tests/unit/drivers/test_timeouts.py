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

"""The deadlines of runs, with runs that note what is done to them."""

import math

from oslo_periodic.drivers import _timeouts
from oslo_periodic import status
from tests import base


class _Run:
    def __init__(self, deadline):
        self.at = deadline
        self.calls = []
        self.end_requested = False

    def deadline(self, now):
        return self.at

    def request_end(self, reason):
        self.calls.append(('request_end', reason))
        self.end_requested = True

    def stack(self):
        return 'the stack'

    def log_timeout(self, stack):
        self.calls.append(('log_timeout', stack))

    def end(self):
        self.calls.append(('end',))


ENDED = [
    ('request_end', status.Outcome.TIMEOUT),
    ('log_timeout', 'the stack'),
    ('end',),
]


class TestTimeouts(base.TestCase):
    def setUp(self):
        super().setUp()
        self.runs = set()
        self.timeouts = _timeouts.Timeouts(self.runs)

    def start(self, deadline, handed_out_for=None):
        run = _Run(deadline)
        self.runs.add(run)
        self.timeouts.add(run, handed_out_for or deadline)
        return run

    def test_no_run(self):
        self.assertEqual(math.inf, self.timeouts.next_deadline)
        self.timeouts.end_overdue(10.0)

    def test_the_next_deadline(self):
        for deadline in (5.0, 3.0, 4.0):
            self.start(deadline)
        self.assertEqual(3.0, self.timeouts.next_deadline)

    def test_what_is_overdue_ends(self):
        """Its stack is logged before it is ended."""
        late, later, in_time = map(self.start, (3.0, 4.0, 4.5))
        self.timeouts.end_overdue(2.999)
        self.assertEqual([], late.calls)
        self.timeouts.end_overdue(4.0)
        self.assertEqual(
            [ENDED, ENDED, []], [run.calls for run in (late, later, in_time)]
        )
        self.assertEqual(4.5, self.timeouts.next_deadline)

    def test_once(self):
        run = self.start(3.0)
        for now in (3.0, 4.0):
            self.timeouts.end_overdue(now)
        self.assertEqual(ENDED, run.calls)

    def test_a_run_that_has_ended(self):
        run = self.start(3.0)
        self.runs.discard(run)
        self.timeouts.end_overdue(3.0)
        self.assertEqual([], run.calls)
        self.assertEqual(math.inf, self.timeouts.next_deadline)

    def test_a_run_whose_end_was_requested(self):
        run = self.start(3.0)
        run.end_requested = True
        self.timeouts.end_overdue(3.0)
        self.assertEqual([], run.calls)

    def test_a_run_that_has_waited_for_its_worker(self):
        """Its time counts from its start."""
        run = self.start(8.0, handed_out_for=3.0)
        self.timeouts.end_overdue(3.0)
        self.assertEqual([], run.calls)
        self.assertEqual(8.0, self.timeouts.next_deadline)
        self.timeouts.end_overdue(8.0)
        self.assertEqual(ENDED, run.calls)

    def test_equal_deadlines(self):
        """Runs are not compared with each other."""
        runs = [self.start(3.0) for _ in range(10)]
        self.timeouts.end_overdue(3.0)
        self.assertEqual([ENDED] * 10, [run.calls for run in runs])

    def test_ended_runs_are_forgotten(self):
        """Though the heap has them behind a run that goes on."""
        first = self.start(2.0)
        for _ in range(1000):
            self.runs.discard(self.start(100.0))
        self.timeouts.end_overdue(1.0)
        self.runs.discard(first)
        self.timeouts.end_overdue(2.0)
        self.assertEqual(math.inf, self.timeouts.next_deadline)
