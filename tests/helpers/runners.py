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

"""Bases of the tests of a runner, on real time and bounded waits."""

import logging
import time

import fixtures

from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base


class RunnerTestCase(base.BackendTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        self.ran = []
        self.gate = self.selected.backend.event()

    def event(self):
        return self.selected.backend.event()

    def make(self, **functions):
        tasks = periodic_task.PeriodicTasks(self.conf)
        for name, (spacing, function) in functions.items():
            decorate = periodic_task.periodic_task(
                name=name, spacing=spacing, run_immediately=True
            )
            tasks.add_periodic_task(decorate(function))
        return tasks

    def start(self, *tasks, context=None, workers=4):
        self.conf.set_override('workers', workers, 'oslo_periodic')
        started = runner.PeriodicRunner(tasks, context)
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        self.addCleanup(self.gate.set)
        started.start()
        return started

    def await_condition(self, condition):
        deadline = time.monotonic() + base.TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.log.output)
            self.selected.backend.sleep(0.005)

    def names(self, started, activity):
        return [
            state.full_name
            for state in started.periodic_state()
            if state.activity == activity
        ]

    def recording(self, name):
        return lambda tasks, context: self.ran.append((name, context))

    def blocking(self, name):
        def block(tasks, context):
            self.ran.append((name, context))
            self.gate.wait(base.TIMEOUT)

        return block

    def count(self, name):
        return sum(label == name for label, _context in self.ran)


class PolicyTestCase(RunnerTestCase):
    def add(self, tasks, name, function, **arguments):
        arguments.setdefault('run_immediately', True)
        decorate = periodic_task.periodic_task(name=name, **arguments)
        tasks.add_periodic_task(decorate(function))

    def one(self, function, **arguments):
        tasks = periodic_task.PeriodicTasks(self.conf)
        self.add(tasks, 'task', function, **arguments)
        return tasks

    def state(self, tasks):
        return tasks.periodic_state()['task']
