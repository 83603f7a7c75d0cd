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

"""Nothing that logging does can end or fail what runs."""

import logging
import sys

import fixtures

from oslo_periodic import _log
from oslo_periodic import fixture
from oslo_periodic import periodic_task
from tests import base
from tests.helpers import runners


class Raises(logging.Filter):
    """As a filter that reads what only the main thread has."""

    def filter(self, record):
        raise AttributeError("'_thread._local' object has no attribute 'id'")


class TestSafeLogger(base.TestCase):
    def setUp(self):
        super().setUp()
        self.stream = self.useFixture(fixtures.StringStream('stderr')).stream
        self.logger = logging.getLogger('oslo_periodic.test')
        self.log = _log.get_logger('oslo_periodic.test')

    def broken(self):
        raising = Raises()
        self.logger.addFilter(raising)
        self.addCleanup(self.logger.removeFilter, raising)

    def test_a_filter_that_raises(self):
        self.broken()
        with fixtures.MonkeyPatch('sys.stderr', self.stream):
            self.log.warning('Task %(task)s is late', {'task': 'a'})
            try:
                raise LookupError('on purpose')
            except LookupError:
                self.log.exception('Plain')
        self.stream.seek(0)
        lines = self.stream.read().splitlines()
        self.assertEqual(
            'oslo.periodic cannot log (AttributeError): Task a is late',
            lines[0],
        )
        self.assertEqual(2, len(lines))

    def test_nowhere_to_write_to(self):
        self.broken()
        with fixtures.MonkeyPatch('sys.stderr', None):
            self.log.warning('Task %(task)s is late', {'task': 'a'})

    def test_a_record_factory_that_raises(self):
        def factory(*args, **kwargs):
            raise MemoryError('no record')

        self.addCleanup(logging.setLogRecordFactory, logging.LogRecord)
        logging.setLogRecordFactory(factory)
        with fixtures.MonkeyPatch('sys.stderr', self.stream):
            self.log.warning('late')

    def test_who_has_logged(self):
        with self.assertLogs('oslo_periodic.test') as caught:
            self.log.warning('here')
            frame = sys._getframe()
        (record,) = caught.records
        self.assertEqual(frame.f_code.co_filename, record.pathname)
        self.assertEqual('test_who_has_logged', record.funcName)


class TestRunner(runners.PolicyTestCase):
    """Filters that raise, in every logger of ours."""

    def setUp(self):
        super().setUp()
        raising = Raises()
        for name in ('oslo_periodic.periodic_task', 'oslo_periodic.runner'):
            logger = logging.getLogger(name)
            logger.addFilter(raising)
            self.addCleanup(logger.removeFilter, raising)

    def test_tasks_run_on(self):
        def fail(tasks, context):
            self.ran.append(('fails', context))
            raise ValueError('on purpose')

        tasks = self.make(
            fails=(0.01, fail),
            overruns=(0.01, self.pausing('overruns', 0.03)),
            good=(0.01, self.recording('good')),
        )
        self.add(
            tasks, 'slow', self.pausing('slow', 0.2), spacing=60, timeout=0.05
        )
        started = self.start(tasks)
        for task in ('fails', 'overruns', 'good'):
            fixture.wait_for_runs(tasks, task, 5)
        state = fixture.wait_for_runs(tasks, 'slow')
        self.assertEqual('timeout', state.last.outcome)
        (problem,) = started.health()
        self.assertIn('PeriodicTasks.fails', problem)
        started.pause('good')
        started.resume('good')
        self.assertTrue(started.stop())

    def pausing(self, name, seconds):
        def pause(tasks, context):
            self.ran.append((name, context))
            self.selected.backend.sleep(seconds)

        return pause

    def test_ticks(self):
        tasks = self.make(
            fails=(60, lambda tasks, context: 1 / 0),
            good=(60, self.recording('good')),
        )
        tasks.run_periodic_tasks(None)
        self.assertEqual(1, self.count('good'))
        self.assertEqual(1, tasks.periodic_state()['fails'].failures)

    def test_a_failure_of_the_runner_reaches_wait(self):
        tasks = self.make(one=(0.01, self.recording('one')))
        started = self.start(tasks)
        fixture.wait_for_runs(tasks, 'one')
        waiting = self.selected.backend.worker_pool(1).submit(started.wait)
        with fixtures.MonkeyPatch('oslo_periodic.periodic_task.now', None):
            error = waiting.exception(base.TIMEOUT)
        self.assertIn('has failed', str(error))
        self.assertIn('NoneType', str(error.__cause__))


class TestNewTasks(base.TestCase):
    def test_a_class_is_made(self):
        raising = Raises()
        logger = logging.getLogger('oslo_periodic.periodic_task')
        logger.addFilter(raising)
        self.addCleanup(logger.removeFilter, raising)

        class Tasks(periodic_task.PeriodicTasks):
            @periodic_task.periodic_task(enabled=False)
            def off(self, context):
                pass

        self.assertEqual([], Tasks(self.conf)._periodic_tasks)
