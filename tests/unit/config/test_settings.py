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

"""The settings of one task, from every source of them."""

import logging
import socket

import fixtures
from oslo_config import cfg
from oslo_config import sources

from oslo_periodic.config import _settings
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic import opts
from tests import base
from tests.helpers import task_sets

PLAIN = _task.Task('plain', task_sets.function, 10.0)


def task(name='plain', spacing=10.0, enabled=True, **policies):
    return PLAIN._replace(
        name=name,
        spacing=spacing,
        enabled=enabled,
        policy=_policy.declare(name, **policies),
    )


class _Group:
    interval = 7
    on = True


class Stub:
    """A configuration that is no ConfigOpts, as tests of services have."""

    sync = _Group()
    interval = 3
    host = 'a-host'


class SettingsTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.path = self.useFixture(fixtures.TempDir()).join('service.conf')

    def configure(self, text='', use_env=False):
        with open(self.path, 'w') as file:
            file.write(text)
        conf = cfg.ConfigOpts()
        conf(
            [],
            project='tests',
            default_config_files=[self.path],
            default_config_dirs=[],
            use_env=use_env,
        )
        conf.register_opts(
            [cfg.FloatOpt('interval', default=7), cfg.BoolOpt('is-on')],
            group='sync',
        )
        conf.register_opts([cfg.IntOpt('interval', default=3)])
        opts.register(conf)
        return conf

    def reader(self, text='', **arguments):
        self.conf = self.configure(text, **arguments)
        return _settings.SettingsReader(self.conf, 'Manager')

    def read(self, text='', declared=PLAIN, **arguments):
        return self.reader(text, **arguments).read(declared, declared.spacing)

    def groups(self):
        return [name for name in self.conf if name.startswith('periodic_')]

    def refuse(self, *arguments, **keywords):
        error = self.assertRaises(
            exceptions.InvalidPeriodicTaskArg,
            self.read,
            *arguments,
            **keywords,
        )
        return str(error)


class TestRead(SettingsTestCase):
    def test_the_decorator_alone(self):
        settings = self.read(declared=task(spacing=12.0, timeout=5))
        self.assertEqual((12.0, True), settings[:2])
        self.assertEqual(_policy.DEFAULT._replace(timeout=5), settings.policy)

    def test_a_stub_has_no_groups(self):
        reader = _settings.SettingsReader(Stub(), 'Manager')
        self.assertFalse(reader.configurable)
        self.assertIs(_policy.DEFAULT, reader.defaults)
        declared = task(spacing='[sync]interval', enabled='[sync]on')
        settings = reader.read(declared, declared.spacing)
        self.assertEqual((7, True, _policy.DEFAULT), settings)

    def test_a_config_opts_has(self):
        reader = self.reader()
        self.assertTrue(reader.configurable)
        self.assertIs(_policy.DEFAULT, reader.defaults)

    def test_the_order_of_the_sources(self):
        text = '[oslo_periodic]\ndefault_timeout = 1\ndefault_spread = yes\n'
        declared = task(timeout=2, overlap='queue')
        group = '[periodic_task:Manager.plain]\n'
        for added, timeout, overlap in (
            ('', 2, 'queue'),
            (f'{group}timeout = 3\n', 3, 'queue'),
            (f'{group}overlap = skip\n', 2, 'skip'),
            (f'{group}timeout = 0\n', 0, 'queue'),
        ):
            policy = self.read(text + added, declared).policy
            self.assertEqual(
                (timeout, overlap), (policy.timeout, policy.overlap)
            )
            self.assertTrue(policy.spread)
        self.assertEqual(1, self.read(text).policy.timeout)

    def test_spacing_and_enabled_of_the_group(self):
        group = '[periodic_task:Manager.plain]\n'
        for text, expected in (
            ('spacing = 3\n', (3, True)),
            ('spacing = 0\n', (60, True)),
            ('spacing = -1\n', (-1, True)),
            ('enabled = no\n', (10, False)),
        ):
            self.assertEqual(expected, self.read(group + text)[:2])

    def test_the_group_goes_before_what_is_deferred(self):
        """Which is not looked up then."""
        declared = task(spacing='[no]such', enabled='[no]such')
        settings = self.read(
            '[periodic_task:Manager.plain]\nspacing = 3\nenabled = yes\n',
            declared,
        )
        self.assertEqual((3, True), settings[:2])

    def test_the_spacing_that_is_passed_counts(self):
        self.assertEqual(25, self.reader().read(PLAIN, 25).spacing)
        self.assertEqual(
            7, self.reader().read(PLAIN, '[sync]interval').spacing
        )

    def test_why_inactive(self):
        group = '[periodic_task:Manager.plain]\n'
        self.assertIsNone(self.read().why_inactive)
        for text, reason in (
            ('spacing = -1\n', 'its interval is negative'),
            ('enabled = no\n', 'it is disabled'),
        ):
            self.assertEqual(reason, self.read(group + text).why_inactive)

    def test_names_of_groups_have_no_case(self):
        text = '[Periodic_Task:MANAGER.plain]\nspacing = 3\n'
        self.assertEqual(3, self.read(text).spacing)


class TestGroups(SettingsTestCase):
    def test_none_is_registered_in_vain(self):
        reader = self.reader('[periodic_task:Manager.two]\nspacing = 3\n')
        for name in ('one', 'two', 'three'):
            reader.read(task(name), 10.0)
        self.assertEqual(['periodic_task:Manager.two'], self.groups())

    def test_a_file_without_any(self):
        self.read('[sync]\ninterval = 3\n')
        self.assertEqual([], self.groups())

    def test_the_group_of_another_class(self):
        self.read('[periodic_task:Other.plain]\nspacing = 3\n')
        self.assertEqual([], self.groups())

    def test_what_code_has_registered(self):
        self.reader()
        opts.register_task(self.conf, 'Manager', 'plain')
        self.conf.set_override('spacing', 4, 'periodic_task:Manager.plain')
        reader = _settings.SettingsReader(self.conf, 'Manager')
        self.assertEqual(4, reader.read(PLAIN, 10.0).spacing)

    def test_the_environment(self):
        variable = 'OS_PERIODIC_TASK:MANAGER.PLAIN__SPACING'
        self.useFixture(fixtures.EnvironmentVariable(variable, '4'))
        self.assertEqual(4, self.read(use_env=True).spacing)

    def test_a_source_that_cannot_list_what_it_has(self):
        """As a driver of oslo.config: then it is asked for every task."""
        reader = self.reader()
        self.conf._sources.append(_Source())
        reader = _settings.SettingsReader(self.conf, 'Manager')
        self.assertEqual(6, reader.read(PLAIN, 10.0).spacing)
        self.assertEqual(10, reader.read(task('other'), 10.0).spacing)

    def test_a_file_that_changes(self):
        """A reader made after the change reads it."""
        reader = self.reader()
        self.assertEqual(10, reader.read(PLAIN, 10.0).spacing)
        with open(self.path, 'w') as file:
            file.write('[periodic_task:Manager.plain]\nspacing = 3\n')
        self.conf.mutate_config_files()
        reader = _settings.SettingsReader(self.conf, 'Manager')
        self.assertEqual(3, reader.read(PLAIN, 10.0).spacing)


class _Source:
    def get(self, group, option, opt):
        if (group, option) == ('periodic_task:Manager.plain', 'spacing'):
            return '6', cfg.LocationInfo(cfg.Locations.user, 'a source')
        return sources._NoValue, None


class TestShared(SettingsTestCase):
    def test_equal_settings_are_one_object(self):
        """However they were set."""
        reader = self.reader('[periodic_task:Manager.one]\ntimeout = 5\n')
        one, two, three, four, five = (
            reader.read(declared, declared.spacing)
            for declared in (
                task('one'),
                task('two', timeout=5),
                task('three'),
                task('four', overlap='skip'),
                task('five', spacing=lambda conf: 10.0),
            )
        )
        self.assertIs(one, two)
        self.assertIs(three, four)
        self.assertIs(three, five)
        self.assertIs(reader.defaults, three.policy)

    def test_others_are_not(self):
        reader = self.reader()
        plain = reader.read(PLAIN, 10.0)
        for declared in (
            task(enabled=False),
            task(timeout=5),
            task(enabled=lambda conf: False),
            task(spacing=20.0),
        ):
            other = reader.read(declared, declared.spacing)
            self.assertNotEqual(plain, other)


class TestInvalid(SettingsTestCase):
    def test_a_value_of_the_group(self):
        for option, value in (
            ('spacing', 'often'),
            ('spacing', 'nan'),
            ('timeout', '-1'),
            ('enabled', 'perhaps'),
            ('overlap', 'both'),
            ('spread', '5'),
        ):
            error = self.refuse(
                f'[periodic_task:Manager.plain]\n{option} = {value}\n'
            )
            self.assertIn('[periodic_task:Manager.plain]', error)
            self.assertIn(f'{option} in {self.path}: ', error)

    def test_what_is_deferred(self):
        for spacing in ('often', float('nan'), None, True):
            error = self.refuse(declared=task(spacing=lambda conf: spacing))
            self.assertIn('The spacing of', error)
        for enabled in (1, 'yes', None):
            declared = task(enabled=lambda conf: enabled)
            error = self.refuse(declared=declared)
            self.assertIn("The enabled of the periodic task 'plain'", error)
            self.assertIn(f'gives {enabled!r}', error)

    def test_a_default_at_the_start(self):
        conf = self.configure('[oslo_periodic]\ndefault_timeout = long\n')
        self.assertRaises(
            ValueError, _settings.SettingsReader, conf, 'Manager'
        )

    def test_a_default_later(self):
        """The last one is kept, and others are read."""
        conf = self.configure(
            '[oslo_periodic]\ndefault_timeout = long\ndefault_spread = yes\n'
        )
        last = _policy.DEFAULT._replace(timeout=5.0)
        reader = _settings.SettingsReader(conf, 'Manager', last)
        self.assertEqual(
            _policy.DEFAULT._replace(timeout=5.0, spread=True),
            reader.defaults,
        )
        self.assertIn(
            'Manager keeps using [oslo_periodic] default_timeout = 5.0',
            self.log.output,
        )


class TestFirstLastRun(SettingsTestCase):
    def first(self, reader, declared, now=1000.0):
        settings = reader.read(declared, declared.spacing)
        return reader.first_last_run(declared, settings, now)

    def test_by_the_decorator(self):
        reader = self.reader()
        self.assertEqual(1000.0, self.first(reader, task()))
        immediate = task()._replace(immediate=True)
        self.assertIsNone(self.first(reader, immediate))

    def test_spread(self):
        """Within a spacing from now, also for what would run at once."""
        reader = self.reader()
        for name in 'abcdefgh':
            declared = task(name, 100.0, spread=True)._replace(immediate=True)
            due = self.first(reader, declared) + 100.0
            self.assertTrue(1000.0 <= due < 1100.0, due)

    def wait(self, name='one', class_name='Manager', conf=None):
        conf = Stub() if conf is None else conf
        reader = _settings.SettingsReader(conf, class_name)
        return reader.spread_last_run(name, 100.0, 0.0) + 100.0

    def test_the_phase_does_not_depend_on_the_time(self):
        reader = _settings.SettingsReader(Stub(), 'Manager')
        for now in (0.0, 1234.5):
            last_run = reader.spread_last_run('one', 100.0, now)
            self.assertAlmostEqual(self.wait(), last_run + 100.0 - now)

    def test_the_phase_depends_on_host_class_and_task(self):
        other = Stub()
        other.host = 'another'
        waits = {
            self.wait(),
            self.wait('two'),
            self.wait(class_name='Agent'),
            self.wait(conf=other),
        }
        self.assertEqual(4, len(waits))

    def test_the_phase_is_part_of_the_spacing(self):
        reader = _settings.SettingsReader(Stub(), 'Manager')
        wait = reader.spread_last_run('one', 200.0, 0.0) + 200.0
        self.assertAlmostEqual(2 * self.wait(), wait)

    def test_the_host_of_the_service(self):
        conf = self.configure()
        conf.register_opts([cfg.StrOpt('host', default='a-host')])
        self.assertEqual(self.wait(), self.wait(conf=conf))

    def test_the_host_of_the_system(self):
        """Where the service has no such option, or something else."""
        self.useFixture(
            fixtures.MonkeyPatch('socket.gethostname', lambda: 'a-host')
        )
        self.assertEqual('a-host', socket.gethostname())
        other = Stub()
        other.host = 5
        for conf in (self.configure(), other):
            self.assertEqual(self.wait(), self.wait(conf=conf))
