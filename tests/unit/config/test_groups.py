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

"""Who hears of a reload, and what is warned of."""

import gc
import logging
import os

import fixtures
from oslo_config import cfg

from oslo_periodic.config import _groups
from oslo_periodic import opts
from oslo_periodic import periodic_task
from tests import base
from tests.helpers import task_sets


class Manager(periodic_task.PeriodicTasks):
    """The owner of tasks."""


class Agent(periodic_task.PeriodicTasks):
    """The owner of other tasks."""


class GroupsTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.path = self.useFixture(fixtures.TempDir()).join('service.conf')
        self.write('')
        self.conf = cfg.ConfigOpts()
        self.conf(
            [],
            project='tests',
            default_config_files=[self.path],
            default_config_dirs=[],
            use_env=False,
        )
        opts.register(self.conf)
        self.calls = []

    def write(self, text):
        with open(self.path, 'w') as file:
            file.write(text)

    def note(self, follower, conf):
        self.calls.append((follower, conf))


class TestFollow(GroupsTestCase):
    def test_a_reload(self):
        followers = task_sets.make(Manager), task_sets.make(Agent)
        for follower in followers:
            _groups.follow(self.conf, follower, self.note)
        self.assertEqual([], self.calls)
        self.conf.mutate_config_files()
        self.assertEqual(
            set(followers), {follower for follower, _conf in self.calls}
        )
        for _follower, conf in self.calls:
            self.assertIs(self.conf, conf)
        self.conf.mutate_config_files()
        self.assertEqual(4, len(self.calls))

    def test_one_follows_once(self):
        follower = task_sets.make()
        for _ in range(3):
            _groups.follow(self.conf, follower, self.note)
        self.conf.mutate_config_files()
        self.assertEqual([(follower, self.conf)], self.calls)

    def test_it_is_kept_weakly(self):
        _groups.follow(self.conf, task_sets.make(), self.note)
        gc.collect()
        self.conf.mutate_config_files()
        self.assertEqual([], self.calls)

    def test_an_error_concerns_no_other(self):
        def fail(follower, conf):
            raise LookupError('on purpose')

        followers = [task_sets.make() for _ in range(3)]
        for follower, reload in zip(
            followers, (self.note, fail, self.note), strict=True
        ):
            _groups.follow(self.conf, follower, reload)
        self.conf.mutate_config_files()
        self.assertEqual(2, len(self.calls))
        self.assertIn('could not be applied', self.log.output)
        self.assertIn('LookupError: on purpose', self.log.output)

    def test_configurations_are_apart(self):
        other = base.make_conf()
        followers = task_sets.make(), task_sets.make()
        for conf, follower in zip((self.conf, other), followers, strict=True):
            _groups.follow(conf, follower, self.note)
        self.conf.mutate_config_files()
        self.assertEqual([(followers[0], self.conf)], self.calls)

    def test_a_stub_never_changes(self):
        _groups.follow(object(), task_sets.make(), self.note)


class TestCheck(GroupsTestCase):
    def setUp(self):
        super().setUp()
        self.manager, self.agent = map(task_sets.make, (Manager, Agent))
        for tasks in (self.manager, self.agent):
            _groups.follow(self.conf, tasks, self.note)
        task_sets.add(self.manager, 'sync')
        task_sets.add(self.manager, 'clean_up')
        task_sets.add(self.agent, 'poll')

    def check(self, text):
        """Return what is logged, by level."""
        self.write(text)
        self.conf.reload_config_files()
        records = fixtures.FakeLogger(format='%(levelname)s %(message)s')
        with records:
            _groups.check_groups(self.conf)
        return records.output.splitlines()

    def test_what_is_right(self):
        self.assertEqual(
            [],
            self.check(
                '[periodic_task:Manager.sync]\nspacing = 5\n'
                '[periodic_task:manager.CLEAN_UP]\ntimeout = 5\n'
                '[periodic_task:Agent.poll]\nenabled = no\n'
                '[another]\nvalue = 5\n'
            ),
        )

    def assert_near(self, group, near):
        self.assertEqual(
            [
                f'WARNING The configuration has a group [{group}], but this '
                'process has no periodic task of that name; did you mean '
                f'[periodic_task:{near}]?'
            ],
            self.check(f'[{group}]\nspacing = 5\n'),
        )

    def test_a_typo_in_the_task(self):
        self.assert_near('periodic_task:Manager.snyc', 'Manager.sync')

    def test_a_typo_in_the_class(self):
        self.assert_near('periodic_task:Manger.sync', 'Manager.sync')

    def test_no_class(self):
        self.assert_near('periodic_task:clean_up', 'Manager.clean_up')

    def test_any_task_of_a_known_class_is_near(self):
        self.assert_near('periodic_task:Agent.xyz', 'Agent.poll')

    def test_a_group_of_another_process(self):
        self.assertEqual(
            [
                'INFO The configuration has a group '
                '[periodic_task:Scheduler.run], but this process has no '
                'periodic task of that name'
            ],
            self.check('[periodic_task:Scheduler.run]\nspacing = 5\n'),
        )

    def test_an_option(self):
        self.assertEqual(
            [
                'WARNING The configuration group [periodic_task:Manager.sync]'
                ' sets spaceing, which is not an option of periodic tasks; '
                'did you mean spacing?'
            ],
            self.check('[periodic_task:Manager.sync]\nspaceing = 5\n'),
        )

    def test_a_disabled_task_is_known(self):
        self.manager.unscheduled['off'] = None
        self.assertEqual([], self.check('[periodic_task:Manager.off]\n'))

    def test_each_is_logged_once(self):
        text = (
            '[periodic_task:Manager.snyc]\nspacing = 5\n'
            '[periodic_task:Manager.sync]\nspaceing = 5\nover = 1\n'
        )
        self.assertEqual(3, len(self.check(text)))
        self.assertEqual([], self.check(text))
        self.assertEqual(
            1, len(self.check(f'{text}[periodic_task:Agent.pol]\n'))
        )

    def test_after_a_reload(self):
        self.write('[periodic_task:Manager.snyc]\nspacing = 5\n')
        self.conf.mutate_config_files()
        self.assertIn(
            'did you mean [periodic_task:Manager.sync]?', self.log.output
        )

    def test_a_file_that_is_gone(self):
        self.write('[periodic_task:Manager.sync]\nspaceing = 5\n')
        self.conf.reload_config_files()
        os.unlink(self.path)
        _groups.check_groups(self.conf)
        self.assertEqual('', self.log.output)

    def test_nobody_follows(self):
        for conf in (base.make_conf(), object()):
            _groups.check_groups(conf)
        self.assertEqual('', self.log.output)
