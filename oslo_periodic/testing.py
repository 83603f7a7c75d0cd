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

"""The conformance suites: the rules of backends, each with its test.

The author of a backend derives a test case and gets all rules tested::

    import unittest

    from oslo_periodic import testing


    class TestMyBackend(testing.BackendConformance, unittest.TestCase):
        def make_backend(self):
            return MyBackend()

A backend with a process pool of its own gets the rules of pools tested, too::

    class TestMyPool(testing.ProcessPoolConformance, unittest.TestCase):
        def make_pool(self):
            return MyBackend().process_pool(2)

A failure names the rule that was broken. If threads of execution share a
native thread, run it in a process that is set up as a service's would be
(monkey-patched or not).
"""

from __future__ import annotations

from oslo_periodic._conformance import _events
from oslo_periodic._conformance import _pools
from oslo_periodic._conformance import _process_rules
from oslo_periodic._conformance import _runner
from oslo_periodic._conformance import _ticks
from oslo_periodic._conformance import _waiting
from oslo_periodic.backends import base


class BackendConformance(
    _events.EventRules,
    _pools.PoolRules,
    _waiting.WaitingRules,
    _ticks.TickRules,
    _runner.RunnerRules,
):
    """Tests of every rule of a backend; mix it into a test case.

    ``patience`` is how many seconds a call may take that a conforming backend
    does at once; 10 unless a test case says otherwise.
    """

    def make_backend(self) -> base.Backend:
        """Make the backend under test; override this."""
        raise NotImplementedError


class ProcessPoolConformance(
    _process_rules.RunRules,
    _process_rules.FailureRules,
    _process_rules.EndRules,
):
    """Tests of every rule of a process pool; mix it into a test case.

    ``patience`` is how many seconds a run may take, starts of processes
    included; 60 unless a test case says otherwise.
    """

    def make_pool(self) -> base.ProcessPool:
        """Make the pool under test, of two processes; override this."""
        raise NotImplementedError
