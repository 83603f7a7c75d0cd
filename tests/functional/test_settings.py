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

"""What decorators, groups of the configuration and defaults say together.

Real configuration files, and mutate_config_files as a SIGHUP calls it.
"""

import copy
import logging
import os
import pathlib
import pickle
import sys
import textwrap

import fixtures
from hypothesis import strategies
from oslo_config import cfg

from oslo_periodic.config import _settings
from oslo_periodic import exceptions
from oslo_periodic import fixture
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base


class Manager(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(spacing=10)
    def plain(self, context):
        """Do something plain.

        And more.
        """
        self.ran.append('plain')

    @periodic_task.periodic_task(
        spacing=20, timeout=5, overlap='queue', missed='run_once'
    )
    def said(self, context):
        self.ran.append('said')

    @periodic_task.periodic_task(spacing=30, enabled=False)
    def off(self, context):
        self.ran.append('off')

    @periodic_task.periodic_task(spacing=-1)
    def negative(self, context):
        self.ran.append('negative')

    @periodic_task.periodic_task(spacing='[sync]interval')
    def late(self, context):
        self.ran.append('late')

    @periodic_task.periodic_task(
        spacing=lambda conf: conf.sync.interval * 2,
        enabled='[sync] late-enabled',
    )
    def called(self, context):
        self.ran.append('called')

    def __init__(self, conf):
        self.ran = []
        super().__init__(conf)


class SettingsTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir())
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.clock = self.useFixture(fixture.ClockFixture())
        self.path = self.folder.join('service.conf')

    def write(self, text):
        with open(self.path, 'w') as file:
            file.write(textwrap.dedent(text))

    def configure(self, text=''):
        self.write(text)
        conf = cfg.ConfigOpts()
        conf(
            [],
            project='tests',
            default_config_files=[self.path],
            default_config_dirs=[],
            use_env=False,
        )
        conf.register_opts(
            [
                cfg.FloatOpt('interval', default=7, mutable=True),
                cfg.BoolOpt('late_enabled', default=True, mutable=True),
            ],
            group='sync',
        )
        return conf

    def make(self, text='', cls=Manager):
        self.conf = self.configure(text)
        return cls(self.conf)

    def state(self, tasks, name):
        return tasks.periodic_state()[name]

    def spacings(self, tasks):
        return dict(tasks._periodic_spacing)


class TestStart(SettingsTestCase):
    def test_nothing_is_said(self):
        tasks = self.make()
        self.assertEqual(
            {'plain': 10, 'said': 20, 'late': 7, 'called': 14},
            self.spacings(tasks),
        )
        state = self.state(tasks, 'plain')
        self.assertEqual(
            ('skip', 'coalesce', 0, 'thread', False),
            (
                state.overlap,
                state.missed,
                state.timeout,
                state.isolation,
                state.spread,
            ),
        )
        state = self.state(tasks, 'said')
        self.assertEqual(
            ('queue', 'run_once', 5),
            (state.overlap, state.missed, state.timeout),
        )
        for name in ('off', 'negative'):
            self.assertEqual('disabled', self.state(tasks, name).activity)

    def test_the_group_of_a_task_overrules_the_decorator(self):
        tasks = self.make("""
            [periodic_task:Manager.said]
            spacing = 2
            timeout = 0
            overlap = skip
            missed = coalesce
            isolation = process
            spread = true
            """)
        state = self.state(tasks, 'said')
        self.assertEqual(
            (2, 0, 'skip', 'coalesce', 'process', True),
            (
                state.spacing,
                state.timeout,
                state.overlap,
                state.missed,
                state.isolation,
                state.spread,
            ),
        )
        self.assertEqual(10, self.state(tasks, 'plain').spacing)

    def test_the_decorator_overrules_the_defaults(self):
        tasks = self.make("""
            [oslo_periodic]
            default_timeout = 9
            default_overlap = skip
            default_spread = true
            """)
        self.assertEqual(9, self.state(tasks, 'plain').timeout)
        self.assertTrue(self.state(tasks, 'plain').spread)
        self.assertEqual(5, self.state(tasks, 'said').timeout)
        self.assertEqual('queue', self.state(tasks, 'said').overlap)

    def test_a_disabled_task_is_enabled(self):
        tasks = self.make("""
            [periodic_task:Manager.off]
            enabled = true
            [periodic_task:Manager.negative]
            spacing = 3
            """)
        self.assertEqual(30, self.state(tasks, 'off').spacing)
        self.assertEqual('idle', self.state(tasks, 'off').activity)
        self.clock.advance(30)
        tasks.run_periodic_tasks(None)
        self.assertIn('off', tasks.ran)
        self.assertIn('negative', tasks.ran)

    def test_a_task_is_disabled(self):
        for text in ('enabled = false', 'spacing = -1'):
            tasks = self.make(f'[periodic_task:Manager.plain]\n{text}\n')
            self.assertEqual('disabled', self.state(tasks, 'plain').activity)
            self.assertNotIn('plain', dict(tasks._periodic_tasks))
            self.clock.advance(60)
            tasks.run_periodic_tasks(None)
            self.assertNotIn('plain', tasks.ran)
            reason = 'its interval is negative'
            if 'enabled' in text:
                reason = 'it is disabled'
            self.assertIn(
                f'Skipping periodic task plain because {reason}',
                self.log.output,
            )

    def test_zero_is_the_default_interval(self):
        tasks = self.make("""
            [periodic_task:Manager.plain]
            spacing = 0
            [sync]
            interval = 0
            """)
        self.assertEqual(60, self.state(tasks, 'plain').spacing)
        self.assertEqual(60, self.state(tasks, 'late').spacing)

    def test_late_values_are_read_for_each_instance(self):
        first = self.make('[sync]\ninterval = 3\nlate_enabled = no\n')
        second = self.make('[sync]\ninterval = 4\n')
        self.assertEqual(3, self.state(first, 'late').spacing)
        self.assertEqual('disabled', self.state(first, 'called').activity)
        self.assertEqual(4, self.state(second, 'late').spacing)
        self.assertEqual(8, self.state(second, 'called').spacing)

    def test_late_and_negative(self):
        tasks = self.make('[sync]\ninterval = -1\n')
        self.assertEqual('disabled', self.state(tasks, 'late').activity)
        self.assertEqual('disabled', self.state(tasks, 'called').activity)

    def test_what_code_sets(self):
        """Code registers a group before it sets an option of it."""
        self.make()
        for name in ('plain', 'said', 'late', 'called', 'off', 'negative'):
            opts.register_task(self.conf, 'Manager', name)
            group = f'periodic_task:Manager.{name}'
            self.assertIsNone(self.conf[group].spacing)
            self.conf.set_override('spacing', 5, group)
        again = Manager(self.conf)
        self.assertEqual(5, self.state(again, 'plain').spacing)
        self.assertEqual(5, self.state(again, 'negative').spacing)

    def test_what_code_sets_counts_after_a_reload(self):
        tasks = self.make()
        opts.register_task(self.conf, 'Manager', 'plain')
        self.conf.set_override('spacing', 5, 'periodic_task:Manager.plain')
        runner.PeriodicRunner(tasks).reset()
        self.assertEqual(5, self.state(tasks, 'plain').spacing)

    def test_no_group_is_registered_in_vain(self):
        self.make('[periodic_task:Manager.plain]\nspacing = 3\n')
        groups = [
            name for name in self.conf if name.startswith('periodic_task:')
        ]
        self.assertEqual(['periodic_task:Manager.plain'], groups)

    def test_the_environment(self):
        name = 'OS_PERIODIC_TASK:MANAGER.PLAIN__SPACING'
        self.useFixture(fixtures.EnvironmentVariable(name, '4'))
        self.write('')
        conf = cfg.ConfigOpts()
        conf([], project='tests', default_config_files=[self.path])
        conf.register_opts(
            [
                cfg.FloatOpt('interval', default=7),
                cfg.BoolOpt('late_enabled', default=True),
            ],
            group='sync',
        )
        self.assertEqual(4, self.state(Manager(conf), 'plain').spacing)

    def test_an_added_task_has_a_group(self):
        tasks = self.make('[periodic_task:Manager.more]\nspacing = 4\n')
        function = periodic_task.periodic_task(spacing=9, name='more')(
            lambda tasks, context: tasks.ran.append('more')
        )
        tasks.add_periodic_task(function)
        self.assertEqual(4, self.state(tasks, 'more').spacing)

    def test_a_copy_runs_by_the_same_rules(self):
        tasks = self.make('[periodic_task:Manager.plain]\nspacing = 3\n')
        for other in (
            copy.copy(tasks),
            pickle.loads(pickle.dumps(tasks)),
        ):
            self.assertEqual(3, self.state(other, 'plain').spacing)
            self.assertEqual('queue', self.state(other, 'said').overlap)

    def test_a_conf_that_is_none(self):
        class Stub:
            run_external_periodic_tasks = True

            def register_opts(self, opts):
                """Take them."""

            class sync:
                interval = 5
                late_enabled = False

        tasks = Manager(Stub())
        self.assertEqual(5, self.state(tasks, 'late').spacing)
        self.assertEqual('disabled', self.state(tasks, 'called').activity)
        self.assertEqual('queue', self.state(tasks, 'said').overlap)


class TestMistakes(SettingsTestCase):
    def refused(self, text='', cls=Manager):
        exc = self.assertRaises(
            exceptions.InvalidPeriodicTaskArg, self.make, text, cls
        )
        return str(exc)

    def one(self, **arguments):
        class One(periodic_task.PeriodicTasks):
            @periodic_task.periodic_task(**arguments)
            def task(self, context):
                """Do nothing."""

        return One

    def test_values_of_a_group(self):
        for line, word in (
            ('spacing = often', 'often'),
            ('spacing = nan', 'nan'),
            ('enabled = perhaps', 'perhaps'),
            ('timeout = -1', 'timeout'),
            ('overlap = twice', 'twice'),
            ('missed = never', 'never'),
            ('isolation = vm', 'vm'),
            ('spread = wide', 'wide'),
        ):
            text = self.refused(f'[periodic_task:Manager.plain]\n{line}\n')
            self.assertIn('plain', text)
            self.assertIn(word, text)

    def test_decorator(self):
        for arguments, words in (
            ({'spacing': 'interval'}, ("'[group]option'", "'interval'")),
            ({'enabled': 'yes'}, ("'[group]option'", "'yes'")),
            ({'overlap': 'both'}, ("'skip' or 'queue'", "'both'")),
            ({'missed': 1}, ("'coalesce' or 'run_once'", '1')),
            ({'isolation': True}, ("'thread' or 'process'", 'True')),
            ({'timeout': -1}, ('finite number of seconds', '-1')),
            ({'timeout': float('inf')}, ('finite number', 'inf')),
            ({'timeout': True}, ('finite number', 'True')),
            ({'spread': 2}, ('True or False', '2')),
            ({'overlaps': 'skip'}, ('overlaps', "'overlap'")),
        ):
            exc = self.assertRaises(
                exceptions.InvalidPeriodicTaskArg, self.one, **arguments
            )
            for word in words:
                self.assertIn(word, str(exc))

    def test_late_values(self):
        def broken(conf):
            raise LookupError('no such thing')

        for arguments, words in (
            ({'spacing': '[sync]intervall'}, ('[sync]intervall', 'spacing')),
            ({'spacing': '[nowhere]interval'}, ('[nowhere]interval',)),
            ({'spacing': broken}, ('broken', 'no such thing')),
            ({'spacing': lambda conf: 'x'}, ('finite number', "'x'")),
            ({'spacing': lambda conf: float('nan')}, ('finite', 'nan')),
            ({'enabled': lambda conf: 'no'}, ('bool', "'no'")),
            ({'enabled': '[sync]interval'}, ('bool', '7')),
        ):
            text = self.refused(cls=self.one(**arguments))
            for word in ("'task'", *words):
                self.assertIn(word, text)

    def test_a_typo_in_a_task(self):
        tasks = self.make("""
            [periodic_task:Manager.plian]
            spacing = 2
            """)
        tasks.run_periodic_tasks(None)
        self.assertIn('[periodic_task:Manager.plian]', self.log.output)
        self.assertIn(
            'did you mean [periodic_task:Manager.plain]?', self.log.output
        )

    def test_a_typo_in_an_option(self):
        tasks = self.make("""
            [periodic_task:Manager.plain]
            spacin = 2
            """)
        tasks.run_periodic_tasks(None)
        self.assertIn('sets spacin', self.log.output)
        self.assertIn('did you mean spacing?', self.log.output)

    def test_a_typo_in_a_class(self):
        tasks = self.make("""
            [periodic_task:Manger.plain]
            spacing = 2
            [periodic_task:Conductor.audit]
            spacing = 2
            """)
        tasks.run_periodic_tasks(None)
        records = {
            record.getMessage(): record.levelname
            for record in self.records.records
        }
        (typo,) = [text for text in records if 'Manger' in text]
        self.assertEqual('WARNING', records[typo])
        self.assertIn('did you mean [periodic_task:Manager.plain]?', typo)
        # The file may be shared with another process of the service.
        (foreign,) = [text for text in records if 'Conductor' in text]
        self.assertEqual('INFO', records[foreign])

    def setUp(self):
        super().setUp()
        self.records = _Records()
        logging.getLogger('oslo_periodic').addHandler(self.records)
        self.addCleanup(
            logging.getLogger('oslo_periodic').removeHandler, self.records
        )

    def test_what_is_right_is_not_mentioned(self):
        tasks = self.make("""
            [periodic_task:Manager.plain]
            spacing = 2
            [periodic_task:manager.off]
            enabled = true
            """)
        tasks.run_periodic_tasks(None)
        self.assertNotIn('did you mean', self.log.output)
        # As with any group of oslo.config, case does not matter.
        self.assertEqual('idle', self.state(tasks, 'off').activity)


class _Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


class TestMutate(SettingsTestCase):
    def mutate(self, text):
        self.write(text)
        self.conf.mutate_config_files()

    def test_a_change_takes_effect_at_once_and_is_logged(self):
        tasks = self.make()
        self.clock.advance(5)
        self.mutate("""
            [periodic_task:Manager.plain]
            spacing = 4
            timeout = 3
            overlap = queue
            """)
        self.assertIn(
            'Periodic task Manager.plain changed: spacing 10 -> 4.0, overlap '
            'skip -> queue, timeout 0.0 -> 3.0',
            self.log.output,
        )
        # It is due since a second ago.
        tasks.run_periodic_tasks(None)
        self.assertEqual(['plain'], tasks.ran)
        self.assertEqual(3, self.state(tasks, 'plain').timeout)
        self.assertNotIn('Manager.said changes', self.log.output)

    def test_back_to_the_decorator(self):
        tasks = self.make('[periodic_task:Manager.plain]\nspacing = 4\n')
        self.mutate('')
        self.assertEqual(10, self.state(tasks, 'plain').spacing)

    def test_enabled(self):
        tasks = self.make()
        self.mutate("""
            [periodic_task:Manager.plain]
            enabled = false
            [periodic_task:Manager.off]
            enabled = true
            """)
        self.assertEqual('disabled', self.state(tasks, 'plain').activity)
        self.assertEqual('idle', self.state(tasks, 'off').activity)
        self.clock.advance(60)
        tasks.run_periodic_tasks(None)
        self.assertNotIn('plain', tasks.ran)
        self.assertIn('off', tasks.ran)
        self.mutate('')
        self.assertEqual('idle', self.state(tasks, 'plain').activity)
        self.assertEqual('disabled', self.state(tasks, 'off').activity)

    def test_negative_and_back(self):
        tasks = self.make()
        self.mutate('[periodic_task:Manager.plain]\nspacing = -1\n')
        self.assertEqual('disabled', self.state(tasks, 'plain').activity)
        self.clock.advance(10)
        tasks.run_periodic_tasks(None)
        self.assertNotIn('plain', tasks.ran)
        self.mutate('[periodic_task:Manager.plain]\nspacing = 4\n')
        # What was due meanwhile is not late.
        tasks.run_periodic_tasks(None)
        self.assertNotIn('plain', tasks.ran)
        self.clock.advance(2)
        tasks.run_periodic_tasks(None)
        self.assertIn('plain', tasks.ran)
        state = self.state(tasks, 'plain')
        self.assertEqual({'disabled': 2}, state.skipped)
        self.assertEqual(0, state.last.lateness)

    def test_defaults(self):
        tasks = self.make()
        self.mutate('[oslo_periodic]\ndefault_timeout = 8\n')
        self.assertEqual(8, self.state(tasks, 'plain').timeout)
        self.assertEqual(5, self.state(tasks, 'said').timeout)

    def test_late_values(self):
        tasks = self.make()
        self.mutate('[sync]\ninterval = 2\n')
        self.assertEqual(2, self.state(tasks, 'late').spacing)
        self.assertEqual(4, self.state(tasks, 'called').spacing)
        self.mutate('[sync]\nlate_enabled = no\n')
        self.assertEqual('disabled', self.state(tasks, 'called').activity)

    def test_what_makes_no_sense_stays_as_it_was(self):
        tasks = self.make('[periodic_task:Manager.plain]\nspacing = 4\n')
        self.mutate("""
            [periodic_task:Manager.plain]
            spacing = often
            [periodic_task:Manager.said]
            spacing = 5
            """)
        self.assertIn(
            'periodic task Manager.plain are unchanged', self.log.output
        )
        self.assertIn('often', self.log.output)
        self.assertEqual(4, self.state(tasks, 'plain').spacing)
        self.assertEqual(5, self.state(tasks, 'said').spacing)

    def test_a_broken_file(self):
        tasks = self.make('[periodic_task:Manager.plain]\nspacing = 4\n')
        self.write('rubbish\n')
        self.assertRaises(cfg.Error, self.conf.mutate_config_files)
        self.assertEqual(4, self.state(tasks, 'plain').spacing)
        self.mutate('[periodic_task:Manager.plain]\nspacing = 6\n')
        self.assertEqual(6, self.state(tasks, 'plain').spacing)

    def test_a_typo_is_told_then_too(self):
        tasks = self.make()
        self.mutate('[periodic_task:Manager.plian]\nspacing = 4\n')
        self.assertIn('did you mean', self.log.output)
        self.assertEqual(10, self.state(tasks, 'plain').spacing)

    def test_what_code_has_set_stays(self):
        tasks = self.make()
        tasks._periodic_spacing['plain'] = 3
        self.mutate('[periodic_task:Manager.said]\nspacing = 4\n')
        self.assertEqual(3, self.state(tasks, 'plain').spacing)

    def test_many_instances_on_one_conf(self):
        conf = self.configure()
        self.conf = conf
        instances = [Manager(conf) for _ in range(3)]
        del instances[0]
        self.mutate('[periodic_task:Manager.plain]\nspacing = 4\n')
        for tasks in instances:
            self.assertEqual(4, self.state(tasks, 'plain').spacing)
        self.assertEqual(1, len(conf._mutate_hooks))


class TestSpread(SettingsTestCase):
    @base.property_test(
        strategies.text(max_size=20),
        strategies.text(max_size=20),
        strategies.floats(0.001, 1e9),
        max_examples=200,
    )
    def test_phase(self, host, name, spacing):
        phase = _settings._phase(host, name, spacing)
        self.assertTrue(0 <= phase < spacing, phase)
        self.assertEqual(phase, _settings._phase(host, name, spacing))

    def test_hosts_and_tasks_are_spread_evenly(self):
        phases = [
            _settings._phase(f'host-{host}', f'Manager.task_{task}', 1)
            for host in range(40)
            for task in range(50)
        ]
        counts = [0] * 10
        for phase in phases:
            counts[int(phase * 10)] += 1
        for count in counts:
            self.assertTrue(140 < count < 260, counts)

    def start(self, host):
        conf = self.configure('[oslo_periodic]\ndefault_spread = yes\n')
        conf.register_opts([cfg.StrOpt('host', default=host)])
        tasks = Manager(conf)
        return {
            name: state.due - self.clock.time
            for name, state in tasks.periodic_state().items()
            if state.due is not None
        }

    def test_the_first_run(self):
        first = self.start('one')
        self.clock.advance(12345.6)
        again = self.start('one')
        for name, wait in first.items():
            self.assertAlmostEqual(wait, again[name])
        other = self.start('two')
        self.assertNotEqual(first, other)

    def test_the_phase_is_kept(self):
        self.useFixture(
            fixtures.MonkeyPatch('oslo_periodic.periodic_task.random', self)
        )
        tasks = self.make("""
            [periodic_task:Manager.plain]
            spread = yes
            spacing = 1000
            """)
        due = self.state(tasks, 'plain').due
        for late in (0, 3.5, 2100):
            self.clock.time = due + late
            tasks.run_periodic_tasks(None)
            due += 1000 * (late // 1000 + 1)
            self.assertAlmostEqual(due, self.state(tasks, 'plain').due)
        self.assertEqual({'late': 2}, self.state(tasks, 'plain').skipped)

    def random(self):
        """Be the greatest jitter, which must not be added."""
        return 1.0


class TestGenerator(SettingsTestCase):
    """The generator, by way of an entry point of an installed service."""

    def generate(self):
        info = pathlib.Path(self.folder.join('service-1.0.dist-info'))
        info.mkdir()
        info.joinpath('METADATA').write_text(
            'Metadata-Version: 2.1\nName: service\nVersion: 1.0\n'
        )
        info.joinpath('entry_points.txt').write_text(
            '[oslo.config.opts]\n'
            f'service.periodic = {__name__}:Manager.list_periodic_opts\n'
        )
        done = base.run_python(
            """
            from oslo_config import generator

            generator.main(['--namespace', 'service.periodic'])
            """,
            env={
                'PYTHONPATH': os.pathsep.join(
                    [self.folder.path, os.getcwd(), *sys.path]
                ),
                'XDG_CACHE_HOME': self.folder.path,
            },
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def test_sample(self):
        sample = self.generate()
        groups = [line for line in sample.splitlines() if line.startswith('[')]
        names = ('plain', 'said', 'late', 'called', 'off', 'negative')
        self.assertEqual(
            # oslo.config takes groups as equal whatever their case.
            sorted(f'[periodic_task:manager.{name}]' for name in names),
            sorted(set(groups) - {'[DEFAULT]'}),
        )
        self.assertIn('Do something plain.', sample)
        for line in (
            '#spacing = 10',
            '#spacing = 20',
            '#overlap = queue',
            '#timeout = 5',
            '#enabled = false',
            'By default it is [sync]interval',
        ):
            self.assertIn(line, sample)

    def test_the_sample_changes_nothing(self):
        """All that is uncommented says what the decorators say."""
        sample = self.generate().replace('\n#', '\n').splitlines()
        kept = [
            line
            for line in sample
            if line.startswith('[')
            or line.partition(' = ')[2]
            and (
                line.partition(' = ')[0]
                in ('spacing', 'enabled', 'timeout', 'overlap', 'missed')
                and '<None>' not in line
            )
        ]
        tasks = self.make('\n'.join(kept))
        self.assertEqual(
            {'plain': 10, 'said': 20, 'late': 7, 'called': 14},
            self.spacings(tasks),
        )

    def test_a_service_may_register_them(self):
        conf = self.configure('[periodic_task:Manager.plain]\nspacing = 3\n')
        for group, options in Manager.list_periodic_opts():
            conf.register_group(group)
            conf.register_opts(options, group=group)
        tasks = Manager(conf)
        self.assertEqual(3, self.state(tasks, 'plain').spacing)
        self.assertEqual(20, self.state(tasks, 'said').spacing)
        self.assertEqual('queue', self.state(tasks, 'said').overlap)
