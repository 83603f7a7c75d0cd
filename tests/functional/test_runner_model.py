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

"""A runner against a model, under a clock that stands still.

The model is slow and plain: it looks at every task after every step. The
runner is real, on green threads, so that each step ends in one state.
"""

import math

import hypothesis
from hypothesis import stateful
from hypothesis import strategies
import testtools

from oslo_periodic import backends
from oslo_periodic.core import _schedule
from oslo_periodic import exceptions
from oslo_periodic import fixture
from oslo_periodic import periodic_task
from oslo_periodic import runner
import tests
from tests import base

NAMES = strategies.sampled_from('abc')
WHICH = strategies.sampled_from((0, 1))
SPACINGS = strategies.integers(1, 12)


class ModelTask:
    """What a runner promises of one task."""

    def __init__(self, spacing, last_run, long, external, queues, runs_once):
        self.spacing = spacing
        self.last_run = last_run
        self.long = long
        self.external = external
        self.queues = queues
        self.runs_once = runs_once
        self.held = set()
        self.requested = False
        #: While it runs: when it started, and its boundary.
        self.run = None
        self.again = False

    def is_due(self, now, external_allowed):
        if self.run:
            return False
        if self.requested:
            return True
        if self.held or (self.external and not external_allowed):
            return False
        return self.last_run is None or self.last_run + self.spacing <= now

    def begin(self, now):
        self.requested = False
        boundary = now
        if self.last_run is not None:
            boundary = now - (now - self.last_run) % self.spacing
        self.last_run = boundary
        self.run = (now, boundary)

    def finish(self, now):
        started, boundary = self.run
        self.run = None
        if now - started > self.spacing and self.last_run == boundary:
            missed = math.ceil((now - boundary) / self.spacing) - 1
            if missed and (self.runs_once or self.queues):
                missed -= 1
            self.last_run = boundary + missed * self.spacing
        self.requested, self.again = self.again, False

    def skip_missed(self, now):
        if self.run or self.last_run is None:
            return
        missed = int((now - self.last_run) // self.spacing)
        if missed >= 1:
            self.last_run += (missed - self.runs_once) * self.spacing


class One(periodic_task.PeriodicTasks):
    pass


class Two(periodic_task.PeriodicTasks):
    pass


class Machine(stateful.RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.override = backends.override('eventlet')
        self.selected = self.override.__enter__()
        self.clock = fixture.ClockFixture()
        self.clock.setUp()
        self.conf = base.make_conf()
        self.instances = [One(self.conf), Two(self.conf)]
        self.conf.set_override('workers', 50, 'oslo_periodic')
        self.gates = {}
        self.starts = []
        self.expected = []
        self.model = {}
        #: Tasks that were removed while they ran, by key.
        self.leaving = {}
        self.running = True
        self.allowed = True
        self.runner = runner.PeriodicRunner(self.instances)
        self.runner.start()
        self.settle()

    def teardown(self):
        self.runner.stop(graceful=False)
        self.clock.cleanUp()
        self.override.__exit__(None, None, None)

    @property
    def now(self):
        return self.clock.time

    def settle(self):
        """Let the runner and the model do all there is to do."""
        backend = backends.get_backend()
        for _ in range(6):
            self.clock.settle()
            backend.sleep(0)
        while self.running:
            due = [
                k
                for k, t in self.model.items()
                if t.is_due(self.now, self.allowed)
            ]
            if not due:
                break
            for key in due:
                task = self.model[key]
                task.begin(self.now)
                self.expected.append((key, self.now))
                if not task.long:
                    task.finish(self.now)

    @stateful.invariant()
    def the_same_runs_have_started(self):
        assert sorted(self.starts) == sorted(self.expected), (
            self.now,
            self.starts[-5:],
            self.expected[-5:],
        )

    @stateful.invariant()
    def health_agrees(self):
        problems = self.runner.health()
        if not self.running:
            problems.remove('The runner is not running')
        late = [p for p in problems if 'it has been running' not in p]
        assert not late, problems

    # What happens to tasks.

    @stateful.rule(
        which=WHICH,
        name=NAMES,
        spacing=SPACINGS,
        immediate=strategies.booleans(),
        long=strategies.booleans(),
        external=strategies.booleans(),
        overlap=strategies.sampled_from(('skip', 'queue')),
        missed=strategies.sampled_from(('coalesce', 'run_once')),
        spread=strategies.booleans(),
    )
    def add(
        self,
        which,
        name,
        spacing,
        immediate,
        long,
        external,
        overlap,
        missed,
        spread,
    ):
        key = (which, name)
        if key in self.model:
            return
        gate = backends.get_backend().event()

        def function(instance, context):
            self.starts.append((key, self.now))
            if long:
                gate.wait()
                gate.clear()
                error, gate.error = getattr(gate, 'error', False), False
                if error:
                    raise LookupError('on purpose')

        decorate = periodic_task.periodic_task(
            name=name,
            spacing=spacing,
            run_immediately=immediate,
            external_process_ok=external,
            overlap=overlap,
            missed=missed,
        )
        instance = self.instances[which]
        task = ModelTask(
            spacing,
            None if immediate else self.now,
            long,
            external,
            overlap == 'queue',
            missed == 'run_once',
        )
        leaving = self.leaving.pop(key, None)
        if leaving is not None:
            task.run, leaving_gate = leaving
            self.gates[key] = leaving_gate
            task.next_gate = gate
        else:
            self.gates[key] = gate
        self.model[key] = task
        instance.add_periodic_task(decorate(function))
        self.settle()

    def known(self, which, name):
        return self.model.get((which, name))

    def row(self, which, name):
        schedule = self.instances[which]._periodic_state.schedule
        return schedule, schedule.row(name)

    @stateful.rule(which=WHICH, name=NAMES)
    def remove(self, which, name):
        task = self.model.pop((which, name), None)
        if task is None:
            return
        if task.run:
            self.leaving[which, name] = task.run, self.gates[which, name]
        instance = self.instances[which]
        instance._periodic_tasks = [
            pair for pair in instance._periodic_tasks if pair[0] != name
        ]
        self.settle()

    @stateful.rule(which=WHICH, name=NAMES, error=strategies.booleans())
    def end_a_long_run(self, which, name, error):
        key = (which, name)
        if key in self.leaving:
            del self.leaving[key]
            self.gates.pop(key).set()
            self.settle()
            return
        task = self.model.get(key)
        if task is None or not task.run:
            return
        gate = self.gates[key]
        gate.error = error
        gate.set()
        if hasattr(task, 'next_gate'):
            self.gates[key] = task.__dict__.pop('next_gate')
        task.finish(self.now)
        self.settle()

    @stateful.rule(which=WHICH, name=NAMES, spacing=SPACINGS)
    def change_the_spacing(self, which, name, spacing):
        task = self.known(which, name)
        if task is not None:
            task.spacing = spacing
            self.instances[which]._periodic_spacing[name] = spacing
            self.settle()

    @stateful.rule(which=WHICH, name=NAMES, back=strategies.integers(0, 20))
    def change_the_last_run(self, which, name, back):
        task = self.known(which, name)
        if task is not None:
            last_run = None if back == 20 else self.now - back
            task.last_run = last_run
            self.instances[which]._periodic_last_run[name] = last_run
            self.settle()

    # What operators do.

    def full_name(self, which, name):
        return f'{("One", "Two")[which]}.{name}'

    @stateful.rule(which=WHICH, name=NAMES)
    def pause(self, which, name):
        task = self.known(which, name)
        if task is not None and 'disabled' not in task.held:
            task.held.add('paused')
            self.runner.pause(self.full_name(which, name))
            self.settle()

    @stateful.rule(which=WHICH, name=NAMES)
    def resume(self, which, name):
        task = self.known(which, name)
        if task is not None and 'disabled' not in task.held:
            if 'paused' in task.held:
                if not task.requested:
                    task.skip_missed(self.now)
                task.held.discard('paused')
            self.runner.resume(self.full_name(which, name))
            self.settle()

    @stateful.rule(which=WHICH, name=NAMES)
    def run_now(self, which, name):
        task = self.known(which, name)
        if task is None or not self.running:
            return
        possible = 'disabled' not in task.held
        if possible and task.run:
            possible = task.queues and not task.again
            task.again = task.again or possible
        elif possible:
            task.requested = True
        try:
            self.runner.run(self.full_name(which, name))
            assert possible
        except exceptions.RunnerError:
            assert not possible
        self.settle()

    @stateful.rule(which=WHICH, name=NAMES, held=strategies.booleans())
    def disable(self, which, name, held):
        task = self.known(which, name)
        if task is None:
            return
        schedule, row = self.row(which, name)
        schedule.hold(row, _schedule.DISABLED, held)
        if held:
            task.held.add('disabled')
            task.requested = task.again = False
        else:
            task.held.discard('disabled')
        self.settle()

    @stateful.rule(allowed=strategies.booleans())
    def external(self, allowed):
        self.allowed = allowed
        self.conf.set_override('run_external_periodic_tasks', allowed)
        self.runner.reset()
        self.settle()

    @stateful.rule()
    def stop(self):
        if not self.running:
            return
        self.runner.stop(graceful=False)
        self.running = False
        for key, task in self.model.items():
            if task.run:
                if hasattr(task, 'next_gate'):
                    self.gates[key] = task.__dict__.pop('next_gate')
                task.finish(self.now)
        for key in list(self.leaving):
            del self.leaving[key]
        self.settle()

    @stateful.rule()
    def start(self):
        if not self.running:
            self.runner.start()
            self.running = True
            self.settle()

    @stateful.rule(seconds=strategies.integers(1, 30))
    def wait(self, seconds):
        self.clock.advance(seconds)
        self.settle()


class TestModel(testtools.TestCase):
    def test_model(self):
        if tests.MONKEY_PATCHED:
            self.skipTest('one kind of process is enough for the model')
        stateful.run_state_machine_as_test(
            Machine,
            settings=hypothesis.settings(
                deadline=None,
                derandomize=True,
                max_examples=300,
                stateful_step_count=80,
            ),
        )
