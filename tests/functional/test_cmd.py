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

"""The command oslo-periodic, as an operator runs it.

Each test runs the command in its own directory, on a service module and
configuration files. It reads the output of the tasks through a pipe, and
sends a signal when an expected line has arrived.
"""

import csv
import io
import json
import os
import re
import signal
import time

import testscenarios
import yaml

from tests.helpers import commands

#: Seconds from a signal to the end of a process that runs no task.
ENDS_WITHIN = 1

#: Names that a user may pass to the command by mistake.
MISTAKES = """
    from oslo_periodic import periodic_task


    def function(conf):
        pass


    class NoTasks:
        def __init__(self, conf):
            pass


    class Plain:
        pass


    class NeedsMore(periodic_task.PeriodicTasks):
        def __init__(self, conf, host):
            super().__init__(conf)


    class Fails(periodic_task.PeriodicTasks):
        def __init__(self, conf):
            raise LookupError('no database')
"""

#: Each has a task that forks, and sends a signal to its child.
FORKING = """
    import multiprocessing
    import os
    import signal
    import time

    from oslo_periodic import periodic_task

    fork = multiprocessing.get_context('fork')


    class Base(periodic_task.PeriodicTasks):
        number = signal.SIGTERM

        @periodic_task.periodic_task(spacing=0.05, run_immediately=True)
        def task(self, context):
            self.fork()
            os.write(1, b'ran\\n')

        def fork(self):
            child = fork.Process(target=time.sleep, args=(30,))
            child.start()
            time.sleep(0.1)
            os.kill(child.pid, self.number)
            child.join(10)
            assert child.exitcode, child.exitcode


    class Terminates(Base):
        pass


    class HangsUp(Base):
        number = signal.SIGHUP


    class Interrupts(Base):
        number = signal.SIGINT


    class AtOnce(Base):
        def fork(self):
            children = []
            for _time in range(20):
                child = os.fork()
                if not child:
                    time.sleep(30)
                    os._exit(0)
                os.kill(child, signal.SIGTERM)
                children.append(child)
            for child in children:
                _pid, status = os.waitpid(child, 0)
                assert os.WTERMSIG(status) == signal.SIGTERM, status


    class Pool(Base):
        def fork(self):
            with fork.Pool(2) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2]
"""

LISTED = """
    from oslo_periodic import periodic_task
    from oslo_service import periodic_task as reference


    class Parent(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(run_immediately=True)
        def inherited(self, context):
            pass

        @periodic_task.periodic_task(spacing=10)
        def overridden(self, context):
            pass

        @periodic_task.periodic_task(spacing=20, run_immediately=True)
        def undecorated(self, context):
            pass

        @periodic_task.periodic_task(spacing=25)
        def removed(self, context):
            pass


    class Tasks(Parent):
        @periodic_task.periodic_task(spacing=30, name='a name')
        def overridden(self, context):
            pass

        def undecorated(self, context):
            pass

        removed = None

        @periodic_task.periodic_task(spacing=0.5, external_process_ok=True)
        def external(self, context):
            pass

        @periodic_task.periodic_task(spacing=-1)
        def negative(self, context):
            pass

        @periodic_task.periodic_task(spacing=40, enabled=False)
        def disabled(self, context):
            pass


    class Nothing(periodic_task.PeriodicTasks):
        pass


    class Old(reference.PeriodicTasks):
        def __init__(self, conf, host, what_not):
            raise RuntimeError('list does not make an instance')

        @reference.periodic_task(spacing=50, run_immediately=True)
        def immediate(self, context):
            pass

        @reference.periodic_task(external_process_ok=True)
        def external(self, context):
            pass

        @reference.periodic_task(spacing=-1)
        def negative(self, context):
            pass

        @reference.periodic_task(enabled=False)
        def disabled(self, context):
            pass


    class Deferred(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing='[group]interval')
        def option(self, context):
            pass

        @periodic_task.periodic_task(
            spacing=lambda conf: 5, enabled='[group]on', run_immediately=True
        )
        def code(self, context):
            pass

        @periodic_task.periodic_task(spacing='[group]other', enabled=False)
        def disabled(self, context):
            pass
"""


class TestRun(testscenarios.WithScenarios, commands.CommandTestCase):
    """A service in the foreground, on each backend."""

    scenarios = [
        (name, {'name': name}) for name in ('threading', 'eventlet', 'gevent')
    ]

    def start_service(self, service, *arguments):
        return self.start(
            'run', f'services:{service}', '--backend', self.name, *arguments
        )

    def check_ends(self, command):
        """Check the exit code and return the seconds until the end."""
        start = time.monotonic()
        self.assertEqual(0, command.wait(), command.stderr)
        return time.monotonic() - start

    def test_once(self):
        command = self.start_service('Idle', '--once')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertEqual(f'on {self.name}\n', command.stdout)

    def test_for(self):
        start = time.monotonic()
        command = self.start_service('Frequent', '--for', '0.5')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertGreaterEqual(time.monotonic() - start, 0.5)
        ran = command.stdout.count('word none\n')
        # At most one run for each spacing, and more than one.
        self.assertTrue(2 <= ran <= 12, ran)

    def test_sigterm(self):
        command = self.start_service('Idle')
        command.expect(f'on {self.name}')
        command.send(signal.SIGTERM)
        self.assertLess(self.check_ends(command), ENDS_WITHIN)
        self.assertIn('Received SIGTERM: stopping', command.stderr)

    def test_sigint(self):
        command = self.start_service('Idle')
        command.expect(f'on {self.name}')
        command.send(signal.SIGINT)
        self.assertLess(self.check_ends(command), ENDS_WITHIN)
        self.assertIn('Received SIGINT: stopping', command.stderr)

    def test_running_task_is_waited_for(self):
        command = self.start_service('Slow')
        command.expect('started')
        command.send(signal.SIGTERM)
        command.expect_error('Received SIGTERM: stopping')
        self.assertNotIn('ended', command.stdout)
        self.write('go', '')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertIn('ended\n', command.stdout)

    def test_sighup(self):
        path = self.write('service.conf', '[DEFAULT]\nword = old\n')
        command = self.start_service('Frequent', '--config-file', path)
        command.expect('word old')
        self.write('service.conf', '[DEFAULT]\nword = new\n')
        command.send(signal.SIGHUP)
        command.expect('word new')
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)

    def test_sighup_while_nothing_is_due(self):
        path = self.write('service.conf', '[DEFAULT]\nword = old\n')
        command = self.start_service('Idle', '--config-file', path)
        command.expect(f'on {self.name}')
        for times in (1, 2):
            command.send(signal.SIGHUP)
            command.expect_error('The configuration was reloaded', times)
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)


class TestForks(testscenarios.WithScenarios, commands.CommandTestCase):
    """A signal to the child of a task does not reach the service."""

    scenarios = [
        (name, {'name': name}) for name in ('threading', 'eventlet', 'gevent')
    ]

    def setUp(self):
        super().setUp()
        self.write('forking.py', FORKING)

    def check(self, service):
        command = self.start(
            'run', f'forking:{service}', '--backend', self.name
        )
        for _time in range(3):
            command.expect('ran')
        for text in ('Received', 'was reloaded', 'Error during'):
            self.assertNotIn(text, command.stderr)
        command.send(signal.SIGHUP)
        command.expect_error('The configuration was reloaded')
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)

    def test_sigterm(self):
        self.check('Terminates')

    def test_sighup(self):
        self.check('HangsUp')

    def test_sigint(self):
        self.check('Interrupts')

    def test_at_once(self):
        self.check('AtOnce')

    def test_pool(self):
        self.check('Pool')


class TestRunOnAnyBackend(commands.CommandTestCase):
    """Behaviour that does not depend on the backend."""

    def test_sighup_with_a_broken_file(self):
        path = self.write('service.conf', '[DEFAULT]\nword = old\n')
        command = self.start('run', 'services:Frequent', '--config-file', path)
        command.expect('word old')
        self.write('service.conf', 'rubbish\n')
        command.send(signal.SIGHUP)
        command.expect_error('Failed to parse')
        self.assertIn(path, command.stderr)
        command.expect('word old')
        self.write('service.conf', '[DEFAULT]\nword = new\n')
        command.send(signal.SIGHUP)
        command.expect('word new')
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)

    def test_failing_task_is_logged(self):
        command = self.start('run', 'services:Failing', '--once')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertEqual('after\n', command.stdout)
        self.assertIn('Error during Failing.fail', command.stderr)
        self.assertIn('ValueError: on purpose', command.stderr)

    def test_failing_task_is_the_exit_code(self):
        command = self.start('run', 'services:Failing', '--once', '--fail')
        self.assertEqual(1, command.wait(), command.stderr)
        self.assertEqual('after\n', command.stdout)
        self.succeed('run', 'services:Idle', '--once', '--fail')

    def test_options_that_a_module_registers(self):
        self.write(
            'registers.py',
            """
            from oslo_config import cfg
            from oslo_periodic import periodic_task

            CONF = cfg.CONF
            CONF.register_opts([cfg.StrOpt('peer', default='none')], 'store')


            class Tasks(periodic_task.PeriodicTasks):
                @periodic_task.periodic_task(run_immediately=True)
                def tell(self, context):
                    print(CONF.store.peer, self.conf is CONF, flush=True)
            """,
        )
        path = self.write('service.conf', '[store]\npeer = file\n')
        arguments = ('run', 'registers:Tasks', '--once')
        out = self.succeed(*arguments, '--config-file', path)
        self.assertEqual('file True\n', out)
        directory = os.path.join(self.directory, 'conf.d')
        os.mkdir(directory)
        self.write('conf.d/1.conf', '[store]\npeer = directory\n')
        out = self.succeed(
            *arguments, '--config-file', path, '--config-dir', directory
        )
        self.assertEqual('directory True\n', out)
        self.assertEqual('none True\n', self.succeed(*arguments))

    def test_options_of_oslo_log(self):
        log_file = os.path.join(self.directory, 'service.log')
        path = self.write(
            'service.conf', f'[DEFAULT]\ndebug = true\nlog_file = {log_file}\n'
        )
        command = self.start(
            'run', 'services:Idle', '--once', '--config-file', path
        )
        self.assertEqual(0, command.wait(), command.stderr)
        with open(log_file) as f:
            text = f.read()
        line = r'DEBUG oslo_periodic.periodic_task .*Running periodic task '
        self.assertRegex(text, line)
        self.assertRegex(command.stderr, line)
        self.assertEqual('on threading\n', command.stdout)
        # Not without being set; with the time, the level and the logger.
        command = self.start('run', 'services:Failing', '--once')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertNotIn('DEBUG', command.stderr)
        self.assertRegex(
            command.stderr,
            r'(?m)^\d{4}-\d\d-\d\d .* ERROR oslo_periodic\.\S+ .*Error during',
        )

    def test_without_oslo_log(self):
        self.write('oslo_log.py', 'raise ImportError')
        command = self.start(
            'run', 'services:Failing', '--once', path=self.directory
        )
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertRegex(
            command.stderr,
            r'(?m)^\d{4}-\d\d-\d\d .* ERROR oslo_periodic\.\S+: Error during',
        )

    def test_a_log_file_that_cannot_be_written(self):
        path = self.write('service.conf', '[DEFAULT]\nlog_file = /no/log\n')
        command = self.start(
            'run', 'services:Idle', '--once', '--config-file', path
        )
        self.assertEqual(1, command.wait())
        self.assertIn('oslo.log cannot be set up', command.stderr)
        self.assertIn('/no/log', command.stderr)
        self.assertNotIn('Traceback', command.stderr)

    def test_options_of_the_command_line_for_logs(self):
        command = self.start('-q', 'run', 'services:Failing', '--once')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertIn('Error during', command.stderr)
        self.assertNotIn('INFO', command.stderr)
        command = self.start('-vv', 'run', 'services:Idle', '--once')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertIn('Running periodic task Idle.tell', command.stderr)

    def test_a_module_that_parses_the_configuration(self):
        self.write(
            'parses.py',
            """
            from oslo_config import cfg
            cfg.CONF([], default_config_files=[])
            from services import *
            """,
        )
        path = self.write('service.conf', '[DEFAULT]\nword = file\n')
        command = self.start(
            'run', 'parses:Frequent', '--once', '--config-file', path
        )
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertEqual('word file\n', command.stdout)
        self.assertIn('has parsed oslo_config.cfg.CONF', command.stderr)

    def test_all_tasks_of_a_tick(self):
        self.write('go', '')
        out = self.succeed('run', 'services:Slow', '--once')
        self.assertEqual('started\nended\nlast\n', out)

    def test_class_of_oslo_service(self):
        self.write(
            'old.py',
            """
            from oslo_service import periodic_task


            class Old(periodic_task.PeriodicTasks):
                @periodic_task.periodic_task(run_immediately=True)
                def tell(self, context):
                    print('old')
            """,
        )
        self.assertEqual('old\n', self.succeed('run', 'old:Old', '--once'))
        command = self.start('run', 'old:Old')
        self.assertNotEqual(0, command.wait())
        self.assertIn(
            'import periodic_task from oslo_periodic', command.stderr
        )

    def test_later_file_wins(self):
        first = self.write('first.conf', '[DEFAULT]\nword = first\n')
        second = self.write('second.conf', '[DEFAULT]\nword = second\n')
        files = ('--config-file', first, '--config-file', second)
        out = self.succeed('run', 'services:Frequent', '--once', *files)
        self.assertEqual('word second\n', out)


class TestChoice(commands.CommandTestCase):
    """Where the choice of the backend comes from."""

    def run_once(self, *arguments, environment=None):
        return self.succeed(
            'run',
            'services:Idle',
            '--once',
            *arguments,
            environment=environment,
        )

    def test_default(self):
        self.assertEqual('on threading\n', self.run_once())

    def test_configuration(self):
        path = self.write('c.conf', '[oslo_periodic]\nbackend = gevent\n')
        self.assertEqual('on gevent\n', self.run_once('--config-file', path))

    def test_option_takes_precedence_over_the_file(self):
        path = self.write('c.conf', '[oslo_periodic]\nbackend = gevent\n')
        out = self.run_once('--config-file', path, '--backend', 'eventlet')
        self.assertEqual('on eventlet\n', out)

    def test_environment(self):
        out = self.run_once(environment='eventlet')
        self.assertEqual('on eventlet\n', out)

    def test_patched_by_the_service(self):
        self.write(
            'patched.py',
            """
            import eventlet
            eventlet.monkey_patch()
            from services import Idle
            """,
        )
        command = self.start('run', 'patched:Idle')
        command.expect('on eventlet')
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)


class TestMistakes(testscenarios.WithScenarios, commands.CommandTestCase):
    """Each error is one line that names the mistake; no traceback."""

    scenarios = [
        (
            name,
            {
                'arguments': arguments.split(),
                'environment': environment,
                'expected': expected,
            },
        )
        for name, arguments, environment, expected in (
            (
                'no such module',
                'run no_such_module:Service',
                None,
                ("no module 'no_such_module'",),
            ),
            (
                'no such submodule',
                'run json.nothing:Service',
                None,
                ("no module 'json.nothing'",),
            ),
            (
                'module fails',
                'run failing:Service',
                None,
                (
                    "'failing' cannot be imported",
                    'RuntimeError: in line 2',
                    'failing.py:2)',
                ),
            ),
            (
                'module is no Python',
                'run rubbish:Service',
                None,
                (
                    "'rubbish' cannot be imported",
                    'SyntaxError',
                    'rubbish.py:1)',
                ),
            ),
            (
                'module needs another',
                'run needing:Service',
                None,
                (
                    "'needing' needs 'not_there'",
                    'not installed',
                    'needing.py:1)',
                ),
            ),
            (
                'a file',
                'run ./services.py:Idle',
                None,
                ("'./services.py:Idle' names a file", 'use services:Idle,'),
            ),
            (
                'a file in a directory',
                'run some/where/clock.py:Clock',
                None,
                ('use some.where.clock:Clock,',),
            ),
            (
                'module exits',
                'run exits:Service',
                None,
                ("'exits' cannot be imported", 'SystemExit', 'exits.py:2'),
            ),
            (
                'not a PeriodicTasks, and takes no arguments',
                'run mistakes:Plain',
                None,
                ('mistakes:Plain is not a PeriodicTasks',),
            ),
            (
                'wrong value',
                'run services:Idle --config-file wrong.conf',
                None,
                ('[oslo_periodic] workers in wrong.conf: ', "'many'"),
            ),
            (
                '--fail without --once',
                'run services:Idle --fail',
                None,
                ('--fail needs --once',),
            ),
            (
                'no such class',
                'run services:Services',
                None,
                ("'services' has no class 'Services'",),
            ),
            (
                'no class named',
                'run services',
                None,
                ("'services' is not of the form MODULE:CLASS",),
            ),
            (
                'not a class',
                'run mistakes:function',
                None,
                ('mistakes:function', 'not a class'),
            ),
            (
                'not a PeriodicTasks',
                'run mistakes:NoTasks',
                None,
                ('mistakes:NoTasks is not a PeriodicTasks',),
            ),
            (
                'class needs more',
                'run mistakes:NeedsMore',
                None,
                ('NeedsMore(conf) failed', "'host'"),
            ),
            (
                'class fails',
                'run mistakes:Fails',
                None,
                ('Fails(conf) failed', 'no database', 'mistakes.py:25'),
            ),
            (
                'no such file',
                'run services:Idle --config-file nothing.conf',
                None,
                ('nothing.conf',),
            ),
            (
                'file is a directory',
                'run services:Idle --config-file .',
                None,
                ('directory',),
            ),
            (
                'malformed file',
                'run services:Idle --config-file malformed.conf',
                None,
                ('malformed.conf:2', 'rubbish'),
            ),
            (
                'unknown backend in an option',
                'run services:Idle --backend evenlet',
                None,
                ("no backend 'evenlet'", '--backend', 'eventlet, '),
            ),
            (
                'unknown backend in the file',
                'run services:Idle --config-file unknown.conf',
                None,
                ("no backend 'evenlet'", 'unknown.conf', 'eventlet, '),
            ),
            (
                'unknown backend in the environment',
                'run services:Idle',
                'evenlet',
                ("no backend 'evenlet'", commands.VARIABLE, 'eventlet, '),
            ),
            (
                'broken backend',
                'run services:Idle --backend broken',
                None,
                ("'broken'", 'broken on purpose'),
            ),
            (
                'broken backend in the environment',
                'run services:Idle',
                'broken',
                ("'broken'", 'broken on purpose'),
            ),
            (
                'contradiction',
                'run services:Idle --config-file threading.conf',
                'eventlet',
                (
                    "'eventlet'",
                    commands.VARIABLE,
                    "'threading'",
                    'threading.conf',
                ),
            ),
            (
                'list: not a PeriodicTasks',
                'list mistakes:NoTasks',
                None,
                ('mistakes:NoTasks is not a PeriodicTasks',),
            ),
            (
                'list: no such module',
                'list no_such_module:Service',
                None,
                ("no module 'no_such_module'",),
            ),
            (
                'list: unknown backend in the environment',
                'list services:Idle',
                'evenlet',
                ("no backend 'evenlet'", commands.VARIABLE),
            ),
        )
    ]

    def setUp(self):
        super().setUp()
        self.write('mistakes.py', MISTAKES)
        self.write('failing.py', "\nraise RuntimeError('in line 2')\n")
        self.write('rubbish.py', 'class:\n')
        self.write('exits.py', 'import sys\nsys.exit(0)\n')
        self.write('wrong.conf', '[oslo_periodic]\nworkers = many\n')
        self.write('needing.py', 'import not_there\n')
        self.write('malformed.conf', '[DEFAULT]\nrubbish\n')
        self.write('unknown.conf', '[oslo_periodic]\nbackend = evenlet\n')
        self.write('threading.conf', '[oslo_periodic]\nbackend = threading\n')

    def test_one_line(self):
        command = self.start(*self.arguments, environment=self.environment)
        self.assertEqual(1, command.wait(), command.stderr)
        self.assertEqual('', command.stdout)
        self.assertEqual(1, command.stderr.count('\n'), command.stderr)
        self.assertNotIn('Traceback', command.stderr)
        for text in self.expected:
            self.assertIn(text, command.stderr)


class TestUsageErrors(commands.CommandTestCase):
    """Errors that argparse reports, with the usage."""

    def test_not_a_duration(self):
        for text in ('soon', '-1', 'inf'):
            command = self.start('run', 'services:Idle', '--for', text)
            self.assertEqual(2, command.wait(), command.stderr)
            self.assertIn(text, command.stderr.splitlines()[-1])
            self.assertNotIn('Traceback', command.stderr)

    def test_once_and_for(self):
        command = self.start('run', 'services:Idle', '--once', '--for', '1')
        self.assertEqual(2, command.wait(), command.stderr)
        self.assertIn('not allowed with', command.stderr)


class TestList(commands.CommandTestCase):
    """The tasks of a class, for a class of either library."""

    COLUMNS = [
        'Name',
        'Spacing',
        'First run',
        'Enabled',
        'External',
        'Defined in',
    ]
    TASKS = [
        ['inherited', 60, 'immediately', True, False, 'listed:7'],
        ['a name', 30, 'after 30 s', True, False, 'listed:25'],
        ['undecorated', 20, 'immediately', True, False, 'listed:29'],
        ['external', 0.5, 'after 0.5 s', True, True, 'listed:34'],
        ['negative', -1, 'never', False, False, 'listed:38'],
        ['disabled', 40, 'never', False, False, 'listed:42'],
    ]
    OLD = [
        ['immediate', 50, 'immediately', True, False, 'listed:55'],
        ['external', 60, 'after 60 s', True, True, 'listed:59'],
        ['negative', -1, 'never', False, False, 'listed:63'],
        ['disabled', 60, 'never', False, False, 'listed:67'],
    ]
    DEFERRED = [
        ['option', '[group]interval', 'after one spacing', True]
        + [False, 'listed:73'],
        ['code', 'computed', 'immediately', '[group]on', False, 'listed:77'],
        ['disabled', '[group]other', 'never', False, False, 'listed:83'],
    ]

    def setUp(self):
        super().setUp()
        self.write('listed.py', LISTED)

    def listed(self, name, kind):
        return self.succeed('list', f'listed:{name}', '-f', kind)

    def as_dicts(self, rows):
        return [dict(zip(self.COLUMNS, row, strict=True)) for row in rows]

    def test_json(self):
        rows = json.loads(self.listed('Tasks', 'json'))
        self.assertEqual(self.as_dicts(self.TASKS), rows)

    def test_yaml(self):
        rows = yaml.safe_load(self.listed('Tasks', 'yaml'))
        self.assertEqual(self.as_dicts(self.TASKS), rows)

    def test_csv(self):
        rows = list(csv.reader(io.StringIO(self.listed('Tasks', 'csv'))))
        self.assertEqual(self.COLUMNS, rows[0])
        names = [row[0] for row in rows[1:]]
        self.assertEqual([row[0] for row in self.TASKS], names)
        first_run = [row[2] for row in rows[1:]]
        self.assertEqual([row[2] for row in self.TASKS], first_run)

    def test_table(self):
        table = self.listed('Tasks', 'table')
        self.assertEqual(table, self.succeed('list', 'listed:Tasks'))
        lines = table.splitlines()
        cells = [
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in lines
            if line.startswith('|')
        ]
        self.assertEqual(self.COLUMNS, cells[0])
        expected = [[str(cell) for cell in row] for row in self.TASKS]
        places = [row[-1] for row in cells[1:]]
        self.assertEqual([row[-1] for row in expected], places)
        self.assertEqual(
            [row[2:5] for row in expected], [row[2:5] for row in cells[1:]]
        )

    def test_class_of_oslo_service(self):
        rows = json.loads(self.listed('Old', 'json'))
        self.assertEqual(self.as_dicts(self.OLD), rows)

    def test_deferred_values(self):
        rows = json.loads(self.listed('Deferred', 'json'))
        self.assertEqual(self.as_dicts(self.DEFERRED), rows)
        self.assertIn('[group]interval', self.listed('Deferred', 'table'))

    def test_effective_values(self):
        path = self.write(
            'service.conf',
            """
            [group]
            interval = 7
            other = 9
            on = false
            [periodic_task:Deferred.disabled]
            enabled = true
            """,
        )
        # Registered at import, as services do.
        self.write(
            'registers.py',
            """
            from oslo_config import cfg
            from listed import Deferred, Old
            cfg.CONF.register_opts(
                [
                    cfg.IntOpt('interval'),
                    cfg.IntOpt('other'),
                    cfg.BoolOpt('on'),
                ],
                group='group',
            )
            """,
        )
        file = ('--config-file', path)
        out = self.succeed('list', 'registers:Deferred', '-f', 'json', *file)
        self.assertEqual(
            [
                ['option', 7, 'after 7 s', True],
                ['code', 5, 'never', False],
                ['disabled', 9, 'after 9 s', True],
            ],
            [list(row.values())[:4] for row in json.loads(out)],
        )
        # A class of oslo.service has no such options.
        out = self.succeed('list', 'registers:Old', '-f', 'json', *file)
        self.assertEqual(self.as_dicts(self.OLD), json.loads(out))

    def test_effective_values_that_cannot_be_read(self):
        path = self.write('service.conf', '[DEFAULT]\n')
        command = self.start('list', 'listed:Deferred', '--config-file', path)
        self.assertEqual(1, command.wait())
        self.assertIn('[group]interval', command.stderr)
        self.assertNotIn('Traceback', command.stderr)

    def test_columns(self):
        wide = self.succeed('list', 'listed:Tasks').splitlines()[0]
        narrow = self.start('list', 'listed:Tasks', columns=60)
        self.assertEqual(0, narrow.wait(), narrow.stderr)
        widths = {len(line) for line in narrow.stdout.splitlines()}
        self.assertLess(max(widths), len(wide))
        self.assertLessEqual(max(widths), 75)

    def test_reader_of_a_pipe_is_gone(self):
        command = self.start('list', 'listed:Tasks', '-f', 'table')
        command.close_stdout()
        # The exit code of a shell for a command that SIGPIPE has ended.
        self.assertEqual(141, command.wait(), command.stderr)
        self.assertNotIn('Traceback', command.stderr)

    def test_class_without_tasks(self):
        self.assertEqual([], json.loads(self.listed('Nothing', 'json')))


class TestBackends(commands.CommandTestCase):
    """The installed backends, and the default choice."""

    def rows(self, environment=None):
        out = self.succeed('backends', '-f', 'json', environment=environment)
        return {row['Name']: row for row in json.loads(out)}

    def test_default(self):
        rows = self.rows()
        self.assertLessEqual(
            {'broken', 'eventlet', 'exits', 'gevent', 'threading'}, set(rows)
        )
        self.assertEqual('oslo.periodic', rows['threading']['Distribution'])
        self.assertEqual('default', rows['threading']['Chosen by'])
        self.assertEqual('', rows['eventlet']['Chosen by'])
        self.assertEqual('cooperative, kill', rows['eventlet']['Capabilities'])
        self.assertEqual('periodic-gevent', rows['gevent']['Distribution'])
        self.assertEqual('1.0', rows['gevent']['Version'])
        self.assertEqual('', rows['gevent']['Error'])
        self.assertIn('broken on purpose', rows['broken']['Error'])

    def test_environment(self):
        rows = self.rows('gevent')
        self.assertIn(commands.VARIABLE, rows['gevent']['Chosen by'])
        self.assertEqual('', rows['threading']['Chosen by'])

    def test_wrong_backend_in_the_environment(self):
        command = self.start('backends', '-f', 'json', environment='evenlet')
        self.assertEqual(0, command.wait(), command.stderr)
        rows = {row['Name']: row for row in json.loads(command.stdout)}
        self.assertIn('eventlet', rows)
        self.assertEqual(1, command.stderr.count('\n'), command.stderr)
        self.assertIn("no backend 'evenlet'", command.stderr)
        self.assertIn(commands.VARIABLE, command.stderr)

    def test_configuration(self):
        path = self.write('c.conf', '[oslo_periodic]\nbackend = gevent\n')
        out = self.succeed('backends', '-f', 'json', '--config-file', path)
        chosen = {r['Name']: r['Chosen by'] for r in json.loads(out)}
        self.assertEqual(
            f'[oslo_periodic] backend in {path}', chosen['gevent']
        )
        self.assertEqual('', chosen['threading'])
        path = self.write('c.conf', '[oslo_periodic]\nbackend = evenlet\n')
        command = self.start('backends', '--config-file', path)
        self.assertEqual(1, command.wait())
        self.assertIn("no backend 'evenlet'", command.stderr)
        self.assertIn(path, command.stderr)

    def test_configuration_and_environment(self):
        path = self.write('c.conf', '[oslo_periodic]\nbackend = gevent\n')
        command = self.start(
            'backends', '--config-file', path, environment='eventlet'
        )
        self.assertEqual(1, command.wait())
        for text in (path, commands.VARIABLE, "'gevent'", "'eventlet'"):
            self.assertIn(text, command.stderr)


class TestHelp(commands.CommandTestCase):
    def test_no_command(self):
        out = self.succeed()
        self.assertEqual(out, self.succeed('--help'))
        self.assertIn('usage: oslo-periodic', out)

    def test_module(self):
        command = self.start('--help', module='oslo_periodic')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertEqual(self.succeed('--help'), command.stdout)

    def test_no_such_command(self):
        command = self.start('nonsense')
        self.assertEqual(2, command.wait())
        self.assertIn('oslo-periodic', command.stdout + command.stderr)

    def test_commands(self):
        out = self.succeed('--help')
        for command in ('run', 'list', 'backends'):
            self.assertTrue(re.search(rf'^ +{command} +\w', out, re.M), out)

    def test_options_of_run(self):
        out = self.succeed('run', '--help')
        for option in ('--config-file', '--backend', '--once', '--for'):
            self.assertIn(option, out)
