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

"""Mistakes in configuration files: each is logged once, with its place."""

import logging
import os
import time

import fixtures
from oslo_config import cfg

from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base


class Two(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(spacing=3600)
    def rare(self, context):
        pass


class MistakesTestCase(base.BackendTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(
            fixtures.FakeLogger(
                level=logging.INFO, format='%(levelname)s %(message)s'
            )
        )
        self.directory = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(self.directory, 'service.conf')

    def read(self, text, use_env=False):
        with open(self.path, 'w') as f:
            f.write(text)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[self.path], use_env=use_env)
        return conf

    def start(self, conf):
        started = runner.PeriodicRunner(Two(conf))
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        started.start()
        return started

    def warnings(self):
        return [
            line.removeprefix('WARNING ')
            for line in self.log.output.splitlines()
            if line.startswith('WARNING')
        ]


class TestTypos(MistakesTestCase):
    def test_options_of_the_group(self):
        conf = self.read(
            '[oslo_periodic]\nworker = 3\ncontrol_sockt = /x\n'
            'graceful-stop-timeout = 1\nworkers = 2\n'
        )
        started = self.start(conf)
        warnings = self.warnings()
        self.assertEqual(2, len(warnings), warnings)
        for typo, meant in (
            ('worker', 'workers'),
            ('control_sockt', 'control_socket'),
        ):
            self.assertIn(
                f'The configuration group [oslo_periodic] sets {typo}, which '
                f'is not an option of oslo.periodic; did you mean {meant}?',
                warnings,
            )
        # Once each, also after a reload and another start.
        conf.mutate_config_files()
        started.stop(timeout=base.TIMEOUT)
        started.start()
        self.assertEqual(warnings, self.warnings())

    def test_names_of_groups(self):
        conf = self.read(
            ''.join(
                f'[{name}]\nworkers = 1\n'
                for name in (
                    'oslo_periodc',
                    'oslo-periodic',
                    'periodic_tasks:Two.rare',
                    'periodictask:Two.rare',
                    # What is not ours.
                    'oslo_policy',
                    'oslo_versionedobjects',
                    'database',
                    'periodic',
                    'backend:one',
                    'oslo_periodics',
                )
            )
        )
        # The service has a group whose name is like ours.
        conf.register_opts([cfg.IntOpt('workers')], group='oslo_periodics')
        self.start(conf)
        warnings = self.warnings()
        for name, meant in (
            ('oslo_periodc', 'oslo_periodic'),
            ('oslo-periodic', 'oslo_periodic'),
            ('periodic_tasks:Two.rare', 'periodic_task:Two.rare'),
            ('periodictask:Two.rare', 'periodic_task:Two.rare'),
        ):
            self.assertIn(
                f'The configuration has a group [{name}], which nothing '
                f'reads; did you mean [{meant}]?',
                warnings,
            )
        self.assertEqual(4, len(warnings), warnings)

    def test_case_of_a_group(self):
        self.start(self.read('[OSLO_PERIODIC]\nworkers = 1\n'))
        self.assertEqual([], self.warnings())

    def test_very_many_unknown_groups(self):
        conf = self.read(
            ''.join(
                f'[periodic_task:Two.rare{number}]\nspacing = 1\n'
                f'[periodic_tosk:Two.rare{number}]\nspacing = 1\n'
                for number in range(5000)
            )
        )
        tasks = Two(conf)
        for number in range(300):
            add = periodic_task.periodic_task(name=f'task_{number}')
            tasks.add_periodic_task(add(lambda self, context: None))
        started = runner.PeriodicRunner(tasks)
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        start = time.monotonic()
        started.start()
        self.assertLess(time.monotonic() - start, 3)
        warnings = self.warnings()
        self.assertIn(
            'The configuration has 4950 more groups of periodic tasks that '
            'this process does not have',
            warnings,
        )
        self.assertLess(len(warnings), 120)


class TestWrongValues(MistakesTestCase):
    """The error names the option and its place."""

    scenarios = [('threading', {'backend': 'threading'})]

    def test_at_the_start(self):
        for option, value, reason in (
            ('workers', 'many', 'invalid literal'),
            ('workers', '0', 'Should be greater than or equal to 1'),
            ('graceful_stop_timeout', 'nan', 'finite'),
            ('failing_after', '-1', 'Should be greater than or equal to 0'),
        ):
            conf = self.read(f'[oslo_periodic]\n{option} = {value}\n')
            error = self.assertRaises(
                exceptions.RunnerError, runner.PeriodicRunner, Two(conf)
            )
            self.assertIn(f'[oslo_periodic] {option}', str(error))
            self.assertIn(f'in {self.path}: ', str(error))
            self.assertIn(reason, str(error))
            self.assertNotIn('Location', str(error))

    def test_default_of_tasks(self):
        conf = self.read('[oslo_periodic]\ndefault_overlap = perhaps\n')
        error = self.assertRaises(ValueError, Two, conf)
        self.assertIn(
            f'[oslo_periodic] default_overlap in {self.path}: ', str(error)
        )
        self.assertNotIn('Location', str(error))

    def test_group_of_a_task(self):
        conf = self.read('[periodic_task:Two.rare]\nspacing = soon\n')
        error = self.assertRaises(exceptions.InvalidPeriodicTaskArg, Two, conf)
        self.assertIn(
            f'[periodic_task:Two.rare] spacing in {self.path}: ', str(error)
        )
        self.assertNotIn('Location', str(error))

    def test_at_a_reload(self):
        conf = self.read('[oslo_periodic]\nworkers = 2\n')
        self.start(conf)
        with open(self.path, 'w') as f:
            f.write('[oslo_periodic]\nworkers = many\n')
        conf.mutate_config_files()
        self.assertIn(
            'ERROR The runner keeps using [oslo_periodic] workers = 2: '
            f'[oslo_periodic] workers in {self.path}: invalid literal',
            self.log.output,
        )
        self.assertNotIn('Location', self.log.output)

    def test_the_environment(self):
        variable = 'OS_OSLO_PERIODIC__WORKERS'
        self.useFixture(fixtures.EnvironmentVariable(variable, 'lots'))
        conf = self.read('[oslo_periodic]\nworkers = 2\n', use_env=True)
        error = self.assertRaises(
            exceptions.RunnerError, runner.PeriodicRunner, Two(conf)
        )
        self.assertIn(f'in the environment variable {variable}', str(error))

    def test_code(self):
        conf = base.make_conf()
        opts.register(conf)
        self.assertRaises(
            ValueError, conf.set_override, 'workers', 'x', 'oslo_periodic'
        )
