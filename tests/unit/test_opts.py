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

"""The options, as a service and the generator of sample files see them."""

import subprocess
import sys

from oslo_config import cfg
from oslo_service import periodic_task as reference

from oslo_periodic import opts
from oslo_periodic import periodic_task
from tests import base


def _attributes(option):
    """Return all that makes up an option, its class included."""
    return type(option), {
        name: value
        for name, value in vars(option).items()
        # The module that made it is nothing a user can see.
        if name != '_set_location'
    }


class TestListOpts(base.TestCase):
    def listed(self):
        return dict(opts.list_opts())

    def test_groups(self):
        self.assertEqual(
            [None, 'oslo_periodic'], [group for group, _ in opts.list_opts()]
        )

    def test_default_group(self):
        (option,) = self.listed()[None]
        self.assertEqual('run_external_periodic_tasks', option.name)
        self.assertIs(True, option.default)

    def test_own_group(self):
        named = {option.name: option for option in self.listed()[opts.GROUP]}
        self.assertEqual('auto', named['backend'].default)
        self.assertIsInstance(named['backend'], cfg.StrOpt)

    def test_every_option_has_help(self):
        for _group, options in opts.list_opts():
            for option in options:
                self.assertTrue(option.help, option.name)
                if option.name != 'control_socket':
                    self.assertIsNotNone(option.default, option.name)

    def test_copies(self):
        """Who changes a listed option changes nothing here."""
        for options in self.listed().values():
            options[0].default = 'changed'
            options.clear()
        self.assertIs(True, self.listed()[None][0].default)
        self.assertEqual('auto', self.listed()[opts.GROUP][0].default)

    def test_listed_is_what_is_registered(self):
        opts.register(self.conf)
        for group, options in opts.list_opts():
            registered = self.conf if group is None else self.conf[group]
            for option in options:
                self.assertEqual(option.default, registered[option.name])

    def test_same_from_the_old_place(self):
        names = [
            (group, [option.name for option in options])
            for group, options in periodic_task.list_opts()
        ]
        expected = [
            (group, [option.name for option in options])
            for group, options in opts.list_opts()
        ]
        self.assertEqual(expected, names)


class TestReference(base.TestCase):
    """A process may load both libraries."""

    def test_equal_to_the_letter(self):
        ((group, (theirs,)),) = reference.list_opts()
        self.assertIsNone(group)
        (ours,) = opts.periodic_opts
        self.assertEqual(_attributes(theirs), _attributes(ours))

    def test_registered_by_both(self):
        for first, second in (
            (reference.PeriodicTasks, periodic_task.PeriodicTasks),
            (periodic_task.PeriodicTasks, reference.PeriodicTasks),
        ):
            conf = base.make_conf()
            first(conf)
            second(conf)
            self.assertIs(True, conf.run_external_periodic_tasks)

    def test_conflict_would_be_noticed(self):
        """What the equality is for: oslo.config refuses anything else."""
        opts.register(self.conf)
        other = cfg.BoolOpt('run_external_periodic_tasks', default=False)
        self.assertRaises(cfg.DuplicateOptError, self.conf.register_opt, other)


class TestRegister(base.TestCase):
    def test_twice(self):
        opts.register(self.conf)
        opts.register(self.conf)
        self.assertEqual('auto', self.conf.oslo_periodic.backend)

    def test_environment_names_the_option(self):
        """The variable is how oslo.config itself spells the option."""
        done = base.run_python(
            """
            from oslo_config import cfg
            from oslo_periodic import opts

            conf = cfg.ConfigOpts()
            conf([], default_config_files=[])
            opts.register(conf)
            print(conf.oslo_periodic.backend)
            """,
            env={'OS_OSLO_PERIODIC__BACKEND': 'gevent'},
        )
        self.assertEqual('gevent\n', done.stdout, done.stderr)


class TestGenerator(base.TestCase):
    """The sample file that a service's documentation shows."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'oslo_config.generator'),
                *('--namespace', 'oslo.periodic'),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=base.TIMEOUT,
        )
        cls.done = done
        cls.default, _, cls.own = done.stdout.partition('[oslo_periodic]')

    def test_succeeds(self):
        self.assertEqual(0, self.done.returncode, self.done.stderr)

    def test_both_options(self):
        self.assertIn('[DEFAULT]', self.default)
        self.assertIn('\n#run_external_periodic_tasks = true\n', self.default)
        self.assertIn('\n#backend = auto\n', self.own)

    def test_help(self):
        self.assertIn('Some periodic tasks can be run', self.default)
        self.assertIn('(string value)', self.own)
        self.assertIn('oslo-periodic backends', self.own)
