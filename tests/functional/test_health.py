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

"""Is a runner well, who says so, and what the service manager is told."""

import contextlib
import logging
import os
import select
import signal
import socket
import time
import uuid

import fixtures
import testscenarios

from oslo_periodic import exceptions
from oslo_periodic import fixture
from oslo_periodic.operate import _health
from oslo_periodic.operate import _surface
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import commands
from tests.helpers import runners

#: Runs a service for a while, and is the process that the watchdog watches.
WATCHED = """
    import os
    import sys

    os.environ['WATCHDOG_PID'] = str(os.getpid())
    from oslo_periodic.cmd import main

    sys.exit(main.main(sys.argv[1:]))
"""

#: Has a task that runs until a file is there.
WAITS = """
    import os

    from oslo_periodic import backends
    from oslo_periodic import periodic_task


    class Waits(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def wait(self, context):
            print('started', flush=True)
            while not os.path.exists('go'):
                backends.get_backend().sleep(0.01)
            print('ended', flush=True)
"""


class Manager:
    """Listens as the service manager does."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if address.startswith('@'):
            address = f'\0{address[1:]}'
        self.socket.bind(address)
        self.messages = []

    def read(self):
        """Take what there is, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages.append(self.socket.recv(4096).decode())
        return self.messages

    def wait_for(self, message, times=1):
        """Wait until a message has come so many times."""
        end = time.monotonic() + base.TIMEOUT
        while self.read().count(message) < times:
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f'no {message}: {self.messages}')
            select.select([self.socket], [], [], left)


class NotifyTestCase(commands.CommandTestCase):
    #: The backend of the service.
    name = 'threading'

    def setUp(self):
        super().setUp()
        self.write('waits.py', WAITS)

    def listen(self, address=None):
        if address is None:
            address = os.path.join(self.directory, 'notify')
        manager = Manager(address)
        self.addCleanup(manager.socket.close)
        return manager

    def variables(self, manager, **variables):
        return {'NOTIFY_SOCKET': manager.address, **variables}

    def run_service(self, service, variables, *arguments):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(
                ('OS_', 'OSLO_PERIODIC_', 'NOTIFY_', 'WATCHDOG_')
            )
        }
        environment.update(variables)
        command = commands.Command(
            [
                'run',
                service,
                '--backend',
                self.name,
                *arguments,
            ],
            self.directory,
            environment,
        )
        self.addCleanup(command.close)
        return command


class TestNotify(testscenarios.WithScenarios, NotifyTestCase):
    """What a service sends, on whichever backend."""

    scenarios = [
        (name, {'name': name}) for name in ('threading', 'eventlet', 'gevent')
    ]

    def check_life(self, manager):
        variables = self.variables(manager, WATCHDOG_USEC='300000')
        command = self.run_service('services:Idle', variables)
        command.expect(f'on {self.name}')
        manager.wait_for('WATCHDOG=1', 3)
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)
        messages = manager.read()
        self.assertEqual('READY=1', messages[0])
        self.assertIn('STOPPING=1', messages)
        self.assertEqual(1, messages.count('READY=1'))
        self.assertEqual(1, messages.count('STOPPING=1'))
        self.assertEqual({'READY=1', 'WATCHDOG=1', 'STOPPING=1'}, {*messages})
        # There may be one more sign of life while it stops.
        self.assertIn('STOPPING=1', messages[-2:])

    def test_a_path(self):
        self.check_life(self.listen())

    def test_an_abstract_address(self):
        self.check_life(self.listen(f'@oslo.periodic/{uuid.uuid4()}'))

    def test_stopping_is_told_before_tasks_are_waited_for(self):
        manager = self.listen()
        command = self.run_service('waits:Waits', self.variables(manager))
        command.expect('started')
        manager.wait_for('READY=1')
        self.assertEqual(['READY=1'], manager.messages)
        command.send(signal.SIGTERM)
        manager.wait_for('STOPPING=1')
        self.assertNotIn('ended', command.stdout)
        self.write('go', '')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertEqual(['READY=1', 'STOPPING=1'], manager.read())


class TestWatchdog(NotifyTestCase):
    """Who is watched, and who is not."""

    def check_none(self, **variables):
        manager = self.listen()
        command = self.run_service(
            'services:Frequent',
            self.variables(manager, **variables),
            '--for',
            '0.4',
        )
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertEqual(['READY=1', 'STOPPING=1'], manager.read())
        self.assertIn('word', command.stdout)

    def test_another_process_is_watched(self):
        self.check_none(WATCHDOG_USEC='50000', WATCHDOG_PID=str(os.getpid()))

    def test_nobody_is_watched(self):
        self.check_none()

    def test_an_interval_that_is_none(self):
        self.check_none(WATCHDOG_USEC='0')

    def test_an_interval_that_is_rubbish(self):
        self.check_none(WATCHDOG_USEC='soon')

    def test_this_process_is_watched(self):
        manager = self.listen()
        ended = base.run_python(
            WATCHED,
            env=self.variables(manager, WATCHDOG_USEC='200000'),
            args=('run', 'services:Frequent', '--for', '0.6'),
            cwd=self.directory,
        )
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertEqual('READY=1', manager.read()[0])
        self.assertIn('WATCHDOG=1', manager.messages)

    def test_a_launcher_that_deletes_the_variables(self):
        self.write(
            'launched.py',
            """
            import os
            from oslo_periodic import runner
            from services import *

            # As the launcher of oslo.service does.
            for name in ('NOTIFY_SOCKET', 'WATCHDOG_USEC'):
                del os.environ[name]
            """,
        )
        manager = self.listen()
        variables = self.variables(manager, WATCHDOG_USEC='200000')
        command = self.run_service(
            'launched:Frequent', variables, '--for', '0.6'
        )
        self.assertEqual(0, command.wait(), command.stderr)
        messages = manager.read()
        self.assertEqual('READY=1', messages[0])
        self.assertIn('WATCHDOG=1', messages)
        self.assertIn('STOPPING=1', messages)

    def test_nobody_listens(self):
        variables = {
            'NOTIFY_SOCKET': os.path.join(self.directory, 'nobody'),
            'WATCHDOG_USEC': '100000',
        }
        command = self.run_service(
            'services:Frequent', variables, '--for', '0.5'
        )
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertIn('word none\nword none\n', command.stdout)
        self.assertIn(
            'Cannot send READY=1 to the service manager', command.stderr
        )
        self.assertNotIn('Traceback', command.stderr)

    def test_a_manager_that_does_not_read(self):
        manager = self.listen()
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sender.close)
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b'FULL=1', manager.address)
        variables = self.variables(manager, WATCHDOG_USEC='100000')
        command = self.run_service(
            'services:Frequent', variables, '--for', '0.3'
        )
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertIn('word none\nword none\n', command.stdout)
        self.assertIn('Cannot send READY=1', command.stderr)

    def test_an_address_that_is_none(self):
        variables = {'NOTIFY_SOCKET': 'x' * 200}
        command = self.run_service(
            'services:Frequent', variables, '--for', '0.2'
        )
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertIn('Cannot send READY=1', command.stderr)


class Conf:
    """What is no ConfigOpts, and has an option that does as it is told.

    The timer of a runner reads it at each turn, if a task is external.
    """

    def __init__(self):
        self.read = lambda: True

    def register_opts(self, options):
        pass

    @property
    def run_external_periodic_tasks(self):
        return self.read()


class HealthTestCase(runners.RunnerTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(
            fixtures.FakeLogger(
                level=logging.DEBUG, format='%(levelname)s %(message)s'
            )
        )
        opts.register(self.conf)
        self.set_timer_patience(base.TIMEOUT)

    def set_constant(self, module, name, value):
        # A fixture would add one that there is not, and change nothing.
        self.assertTrue(hasattr(module, name), name)
        self.useFixture(
            fixtures.MonkeyPatch(f'{module.__name__}.{name}', value)
        )

    def set_timer_patience(self, seconds):
        self.set_constant(_health, 'TIMER_PATIENCE', seconds)

    def look_often(self):
        self.set_constant(_surface, 'HEALTH_INTERVAL', 0.02)

    def set_factor(self, factor):
        self.conf.set_override('overdue_factor', factor, 'oslo_periodic')

    def logged(self, text):
        return self.log.output.count(text)

    def await_log(self, text):
        self.await_condition(lambda: text in self.log.output)

    def await_health(self, started, *problems):
        """Wait until the health is as told; each with what it has in it."""

        def is_so():
            found = started.health()
            return len(found) == len(problems) and all(
                text in line for text, line in zip(problems, found)
            )

        self.await_condition(is_so)


class TestLateness(HealthTestCase):
    """Tasks that are late on a clock that stands still, but for the test."""

    def setUp(self):
        super().setUp()
        # Its leaps are none of the timer's fault.
        self.set_timer_patience(10**6)
        self.clock = self.useFixture(fixture.ClockFixture())

    def advance(self, started, seconds):
        """Let time pass, and wake the timer as its end would."""
        self.clock.advance(seconds)
        started.reset()

    def start_slow(self, spacing=10, **more):
        """Start a runner whose first task has started, and holds on."""
        started = self.start(
            self.make(slow=(spacing, self.blocking('slow')), **more)
        )
        self.await_condition(lambda: self.count('slow') == 1)
        return started

    def test_it_is_well(self):
        started = self.start_slow()
        self.assertEqual([], started.health())
        # As late as it may be.
        self.advance(started, 40)
        self.assertEqual([], started.health())

    def test_it_does_not_run(self):
        made = runner.PeriodicRunner(self.make())
        self.assertEqual(['The runner is not running'], made.health())
        made.start()
        self.assertEqual([], made.health())
        self.assertTrue(made.stop(timeout=base.TIMEOUT))
        self.assertEqual(['The runner is not running'], made.health())

    def test_it_runs_for_too_long(self):
        started = self.start_slow()
        self.advance(started, 40.5)
        (problem,) = started.health()
        self.assertRegex(
            problem,
            r'^PeriodicTasks\.slow is 30\.5 seconds late: it has been running '
            r'for 40\.5 seconds, at block \(.*runners\.py:\d+\)',
        )
        # It says no more than before when it is paused, and is not late.
        started.pause('slow')
        self.assertEqual([], started.health())
        started.resume('slow')

    def test_all_workers_are_held(self):
        tasks = self.make(
            slow=(1000, self.blocking('slow')),
            slower=(1000, self.blocking('slower')),
            other=(10, self.recording('other')),
        )
        started = self.start(tasks, workers=2)
        self.await_condition(lambda: len(self.ran) == 2)
        self.await_condition(
            lambda: self.names(started, 'waiting') == ['PeriodicTasks.other']
        )
        self.assertEqual([], started.health())
        self.advance(started, 31)
        (problem,) = started.health()
        self.assertIn('PeriodicTasks.other is 31.0 seconds late: ', problem)
        self.assertIn('it waits for a worker; all 2 are busy with ', problem)
        for name in ('slow', 'slower'):
            self.assertIn(f'PeriodicTasks.{name} (31.0 s)', problem)
        started.pause('other')
        self.assertEqual([], started.health())
        started.resume('other')
        self.gate.set()
        self.await_condition(lambda: self.count('other'))
        self.await_health(started)

    def test_it_is_paused(self):
        tasks = self.make(
            quick=(10, self.recording('quick')),
            other=(10, self.recording('other')),
        )
        started = self.start(tasks)
        self.await_condition(lambda: len(self.ran) == 2)
        started.pause('quick')
        self.advance(started, 1000)
        self.await_condition(lambda: self.count('other') == 2)
        self.await_health(started)
        self.assertEqual(1, self.count('quick'))
        # What was missed meanwhile is not late either.
        started.resume('quick')
        self.await_health(started)
        self.advance(started, 10)
        self.await_condition(lambda: self.count('quick') == 2)
        self.await_health(started)

    def test_lateness_is_turned_off(self):
        self.set_factor(0)
        started = self.start_slow()
        self.advance(started, 10**5)
        self.assertEqual([], started.health())
        # It can be turned on while it runs.
        self.set_factor(2.5)
        started.reset()
        self.await_health(started, 'PeriodicTasks.slow is 99990.0 seconds')

    def test_each_is_told_once(self):
        self.look_often()
        started = self.start_slow(other=(100, self.blocking('other')))
        self.await_condition(lambda: len(self.ran) == 2)
        warning = 'WARNING Periodic tasks are unhealthy: PeriodicTasks.'
        self.advance(started, 50)
        self.await_log(f'{warning}slow is 40.0 seconds late: it has been')
        # It has become worse, and another one has joined it.
        self.advance(started, 400)
        self.await_log(f'{warning}other is 350.0 seconds late: it has been')
        self.assertEqual(1, self.logged(f'{warning}slow'))
        self.assertEqual(1, self.logged(f'{warning}other'))
        self.assertEqual(2, len(started.health()))
        self.assertEqual(0, self.logged('is healthy again'))
        self.gate.set()
        for name in ('slow', 'other'):
            self.await_log(f'INFO PeriodicTasks.{name} is healthy again')
        self.await_health(started)
        # Another time is told again.
        self.gate.clear()
        runs = self.count('slow')
        self.advance(started, 10)
        self.await_condition(lambda: self.count('slow') > runs)
        self.advance(started, 60)
        self.await_condition(lambda: self.logged(f'{warning}slow') == 2)
        self.gate.set()
        self.await_condition(
            lambda: self.logged('PeriodicTasks.slow is healthy again') == 2
        )
        self.assertEqual(
            1, self.logged('PeriodicTasks.other is healthy again')
        )

    def test_a_clock_that_is_set_back(self):
        self.look_often()
        started = self.start_slow()
        self.advance(started, -500)
        self.assertEqual([], started.health())
        self.advance(started, 541)
        self.await_health(started, 'PeriodicTasks.slow is 31.0 seconds late')


class TestEndToEnd(HealthTestCase):
    """On real time."""

    def test_it_is_late_and_well_again(self):
        self.look_often()
        self.set_factor(2)
        tasks = self.make(
            slow=(0.05, self.blocking('slow')),
            other=(3600, self.recording('other')),
        )
        started = self.start(tasks)
        self.await_health(started, 'it has been running for')
        self.await_log(
            'WARNING Periodic tasks are unhealthy: PeriodicTasks.slow is'
        )
        self.gate.set()
        self.await_log('INFO PeriodicTasks.slow is healthy again')
        self.await_health(started)


class TestTimer(HealthTestCase):
    """A timer that does not turn, or has failed."""

    def setUp(self):
        super().setUp()
        self.timer = Conf()
        self.shut = self.event()
        self.addCleanup(self.shut.set)

    def start_on_stub(self, *more):
        tasks = periodic_task.PeriodicTasks(self.timer)
        decorate = periodic_task.periodic_task(
            name='quick',
            spacing=0.01,
            run_immediately=True,
            external_process_ok=True,
        )
        tasks.add_periodic_task(decorate(self.recording('quick')))
        instances = [tasks, *more]
        started = runner.PeriodicRunner(instances, None, self.conf)
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        self.addCleanup(self.shut.set)
        self.addCleanup(self.gate.set)
        started.start()
        self.await_condition(lambda: self.count('quick') > 1)
        return started

    def block_timer(self, started):
        """Have the timer hang at its next turn, until it is told."""
        blocked = self.event()

        def block():
            blocked.set()
            self.shut.wait(base.TIMEOUT)
            return True

        self.timer.read = block
        started.reset()
        self.assertTrue(blocked.wait(base.TIMEOUT))

    def test_it_does_not_turn(self):
        self.look_often()
        started = self.start_on_stub()
        self.assertEqual([], started.health())
        self.block_timer(started)
        self.set_timer_patience(0.1)
        self.await_condition(lambda: started.health())
        self.assertRegex(
            started.health()[0],
            r'^The timer loop has not run for \d+\.\d seconds: its thread is '
            r'blocked or has ended$',
        )
        self.await_log('WARNING Periodic tasks are unhealthy: The timer')
        self.set_timer_patience(base.TIMEOUT)
        self.shut.set()
        self.await_log('INFO The timer loop is healthy again')
        self.assertEqual(1, self.logged('unhealthy: The timer'))
        ran = self.count('quick')
        self.await_condition(lambda: self.count('quick') > ran)
        self.await_health(started)

    def test_it_does_not_turn_where_lateness_is_turned_off(self):
        self.set_factor(0)
        started = self.start_on_stub()
        self.block_timer(started)
        self.set_timer_patience(0.1)
        self.await_health(started, 'The timer loop has not run')

    def test_a_schedule_that_is_locked(self):
        if 'cooperative' in {
            capability.value
            for capability in self.selected.backend.capabilities
        }:
            self.skipTest('nothing switches while the lock is held')
        tasks = self.make(quick=(0.01, self.recording('quick')))
        started = self.start(tasks)
        self.await_condition(lambda: self.count('quick') > 1)
        self.set_timer_patience(0.1)
        with tasks._periodic_state.schedule._lock:
            self.await_condition(
                lambda: any(
                    'The timer loop has not run' in problem
                    for problem in started.health()
                )
            )
        self.set_timer_patience(base.TIMEOUT)
        ran = self.count('quick')
        self.await_condition(lambda: self.count('quick') > ran)
        self.await_health(started)

    def test_a_timer_that_is_idle_is_well(self):
        self.set_timer_patience(0.1)
        started = self.start(self.make(one=(3600, self.recording('one'))))
        self.await_condition(lambda: self.ran)
        self.look_often()
        end = periodic_task.now() + 0.5
        self.await_condition(lambda: periodic_task.now() > end)
        self.await_health(started)

    def test_the_watchdog_is_not_fed_while_it_does_not_turn(self):
        directory = self.useFixture(fixtures.TempDir()).path
        manager = Manager(os.path.join(directory, 'notify'))
        self.addCleanup(manager.socket.close)
        for name, value in (
            ('NOTIFY_SOCKET', manager.address),
            ('WATCHDOG_USEC', '40000'),
            ('WATCHDOG_PID', None),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        tasks = self.make(late=(3600, self.blocking('late')))
        started = self.start_on_stub(tasks)
        self.await_condition(lambda: manager.read().count('WATCHDOG=1') > 2)
        self.block_timer(started)
        self.set_timer_patience(0.1)
        self.await_log('unhealthy: The timer loop has not run')
        manager.read()
        del manager.messages[:]
        # That the monitor goes on is seen by what it says of a task.
        tasks._periodic_spacing['late'] = 0.01
        self.await_log('unhealthy: PeriodicTasks.late is')
        self.assertEqual([], manager.read())
        self.set_timer_patience(base.TIMEOUT)
        self.shut.set()
        self.await_condition(lambda: 'WATCHDOG=1' in manager.read())

    @staticmethod
    def fail_with(dispatcher, now):
        raise LookupError('on purpose')

    def test_an_instance_that_is_broken(self):
        """It ended the timer, so no task ran any more."""
        self.look_often()
        others = self.make(other=(0.01, self.recording('other')))
        started = self.start_on_stub(others)

        def fail():
            raise LookupError('on purpose')

        self.timer.read = fail
        started.reset()
        self.await_log(
            'ERROR The periodic tasks of PeriodicTasks cannot be scheduled: '
            'LookupError: on purpose'
        )
        self.await_health(
            started,
            'The instance of PeriodicTasks cannot be scheduled: LookupError: '
            'on purpose',
        )
        ran = self.count('other')
        self.await_condition(lambda: self.count('other') > ran + 3)
        self.assertEqual(1, self.logged('ERROR The periodic tasks of'))
        self.timer.read = lambda: True
        self.await_health(started)
        ran = self.count('quick')
        self.await_condition(lambda: self.count('quick') > ran)

    def test_it_fails(self):
        self.look_often()
        started = self.start_on_stub()
        pool = self.selected.backend.worker_pool(1)
        self.addCleanup(pool.shutdown)
        waiting = pool.submit(started.wait)
        failing = fixtures.MonkeyPatch(
            'oslo_periodic.drivers._dispatch.Dispatcher._plan', self.fail_with
        )
        with failing:
            started.reset()
            waiting.exception(base.TIMEOUT)
        error = waiting.exception(base.TIMEOUT)
        self.assertIsInstance(error, exceptions.RunnerError)
        self.assertIsInstance(error.__cause__, LookupError)
        # It reaches wait() before it is logged.
        self.await_log('CRITICAL The periodic task runner has')
        self.await_log('LookupError: on purpose')
        self.assertEqual(
            1, self.logged('CRITICAL The periodic task runner has')
        )
        self.await_health(
            started, 'The runner has failed: LookupError: on purpose'
        )
        # A stop does not make it well.
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        self.assertRaises(exceptions.RunnerError, started.wait)
        self.assertEqual(['The runner is not running'], started.health())
        # But another start does.
        self.timer.read = lambda: True
        started.start()
        ran = self.count('quick')
        self.await_condition(lambda: self.count('quick') > ran)
        self.assertEqual([], started.health())
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        self.assertIsNone(started.wait())

    def test_it_is_ended_from_inside(self):
        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
            started = self.start_on_stub()

            def fail(dispatcher, now, kind=kind):
                raise kind('on purpose')

            with fixtures.MonkeyPatch(
                'oslo_periodic.drivers._dispatch.Dispatcher._plan', fail
            ):
                started.reset()
                self.assertRaises(exceptions.RunnerError, started.wait)
            self.await_health(
                started, f'The runner has failed: {kind.__name__}: on purpose'
            )
            started.stop(timeout=base.TIMEOUT)
            self.ran.clear()

    def test_logging_fails_as_a_run_begins(self):
        """It failed health for good, and said that no worker can start."""
        failures = []

        def breaks(record):
            if record.getMessage().endswith('task PeriodicTasks.rare'):
                failures.append(record)
                raise LookupError('on purpose')
            return True

        logger = logging.getLogger('oslo_periodic.periodic_task')
        logger.addFilter(breaks)
        self.addCleanup(logger.removeFilter, breaks)
        started = self.start(
            self.make(
                rare=(3600, self.recording('rare')),
                quick=(0.01, self.recording('quick')),
            )
        )
        self.await_condition(lambda: self.count('rare') == 1)
        ran = self.count('quick')
        self.await_condition(lambda: self.count('quick') > ran)
        self.assertEqual(1, len(failures))
        self.assertEqual([], started.health())
        self.assertEqual(0, self.logged('CRITICAL'))
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        started.wait()
