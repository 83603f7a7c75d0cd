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

"""What operators name, and what is meant."""

from oslo_periodic.core import _schedule
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic.operate import _find
from oslo_periodic import periodic_task
from tests import base
from tests.helpers import task_sets


class Agent(periodic_task.PeriodicTasks):
    """Owns tasks."""


class Manager(periodic_task.PeriodicTasks):
    """Owns tasks, too."""


def _other_agent():
    class Agent(periodic_task.PeriodicTasks):
        """Has the name of another class."""

    return Agent


class FindTestCase(base.TestCase):
    def make(self, owner, *names):
        tasks = task_sets.make(owner)
        for name in names:
            task_sets.add(tasks, name)
        return tasks

    def find(self, name, *task_sets):
        return [
            (ref.tasks, ref.full_name) for ref in _find.find(task_sets, name)
        ]

    def refuse(self, name, *task_sets):
        return str(
            self.assertRaises(
                exceptions.RunnerError, _find.find, task_sets, name
            )
        )


class TestFind(FindTestCase):
    def test_by_both_names(self):
        agent = self.make(Agent, 'poll', 'sync')
        for name in ('sync', 'Agent.sync'):
            self.assertEqual([(agent, 'Agent.sync')], self.find(name, agent))

    def test_in_several(self):
        agent, manager = self.make(Agent, 'poll'), self.make(Manager, 'sync')
        self.assertEqual(
            [(manager, 'Manager.sync')], self.find('sync', agent, manager)
        )

    def test_several_instances_of_one_class(self):
        first, second = self.make(Agent, 'poll'), self.make(Agent, 'poll')
        self.assertEqual(
            [(first, 'Agent.poll'), (second, 'Agent.poll')],
            self.find('poll', first, second),
        )

    def test_one_name_in_two_classes(self):
        both = self.make(Manager, 'sync'), self.make(Agent, 'sync')
        self.assertEqual(
            'several periodic tasks are named sync: Agent.sync and '
            'Manager.sync; give the full name of one',
            self.refuse('sync', *both),
        )
        self.assertEqual(
            [(both[0], 'Manager.sync')], self.find('Manager.sync', *both)
        )

    def test_a_paused_or_external_task(self):
        agent = self.make(Agent, 'poll')
        for reason in (_schedule.PAUSED, _schedule.EXTERNAL):
            agent.schedule.hold(0, reason, True)
            self.assertEqual(1, len(self.find('poll', agent)))

    def test_a_removed_task(self):
        agent = self.make(Agent, 'poll', 'sync')
        agent.remove('poll')
        self.assertIn(
            'there is no periodic task poll', self.refuse('poll', agent)
        )

    def test_two_classes_of_one_name(self):
        """Their modules tell them apart."""
        both = [self.make(owner, 'poll') for owner in (Agent, _other_agent())]
        module = __name__
        self.assertEqual(
            f'several periodic tasks are named Agent.poll: {module}.Agent.poll'
            f' and {module}._other_agent.<locals>.Agent.poll; give the full '
            'name of one',
            self.refuse('Agent.poll', *both),
        )
        for owner, tasks in zip(
            ('Agent', '_other_agent.<locals>.Agent'), both, strict=True
        ):
            self.assertEqual(
                [(tasks, 'Agent.poll')],
                self.find(f'{module}.{owner}.poll', *both),
            )


class TestUnknown(FindTestCase):
    def test_the_nearest_name(self):
        agent = self.make(Agent, 'poll', 'synchronise')
        for name in ('Agent.synchronize', 'synchronize', 'syn'):
            self.assertEqual(
                f'there is no periodic task {name}; did you mean '
                'Agent.synchronise?',
                self.refuse(name, agent),
            )

    def test_the_full_name_of_another_class(self):
        agent = self.make(Agent, 'poll')
        self.assertEqual(
            'there is no periodic task Manager.poll; did you mean Agent.poll?',
            self.refuse('Manager.poll', agent),
        )

    def test_no_task_at_all(self):
        for sets in ((), (self.make(Agent),)):
            self.assertEqual(
                'there is no periodic task poll', self.refuse('poll', *sets)
            )


class TestDisabled(FindTestCase):
    def assert_disabled(self, agent):
        for name in ('poll', 'Agent.poll'):
            self.assertEqual(
                'the periodic task Agent.poll is disabled; its options in '
                '[periodic_task:Agent.poll] can enable it',
                self.refuse(name, agent),
            )

    def test_what_never_ran(self):
        agent = self.make(Agent)
        agent.unscheduled['poll'] = _task.Task('poll', task_sets.function, -1)
        self.assert_disabled(agent)

    def test_by_configuration(self):
        agent = self.make(Agent, 'poll')
        agent.schedule.hold(0, _schedule.DISABLED, True)
        self.assert_disabled(agent)

    def test_by_its_spacing(self):
        agent = self.make(Agent, 'poll')
        agent.schedule.set_spacing(0, -1.0)
        self.assert_disabled(agent)

    def test_while_it_runs(self):
        agent = self.make(Agent, 'poll')
        agent.schedule.collect(0.0)
        agent.begin(agent.take(0), 0.0)
        agent.schedule.hold(0, _schedule.DISABLED, True)
        self.assert_disabled(agent)

    def test_in_one_of_two_instances(self):
        first, second = self.make(Agent, 'poll'), self.make(Agent, 'poll')
        first.schedule.hold(0, _schedule.DISABLED, True)
        self.assertEqual(
            [(second, 'Agent.poll')], self.find('poll', first, second)
        )
