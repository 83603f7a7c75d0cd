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

"""Bases of the tests of parallel ticks, in this process and in programs."""

import contextlib
import logging
import os
import pathlib
import select
import signal
import subprocess
import sys
import textwrap
import time
import unittest
import weakref

import fixtures

from oslo_periodic import opts
from oslo_periodic import periodic_task
import tests
from tests import base
from tests.helpers import faults

#: Seconds within which any tick has ended, or it hangs.
BOUND = 30
#: The same of a whole program.
PROGRAM_BOUND = 40
ROOT = pathlib.Path(__file__).parents[2]

#: A module with a class of its own, for programs in files.
SERVICE = '''
import os, sys, time
from oslo_config import cfg
from oslo_periodic import periodic_task

class Service(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(run_immediately=True)
    def say(self, context):
        print('ran', context, flush=True)

def make(cls=Service):
    conf = cfg.ConfigOpts()
    conf([], project='x', default_config_files=[], use_env=False)
    return cls(conf)
'''

PROGRAM = '''
import logging, os, signal, sys, time
# A shell starts what runs in its background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from oslo_config import cfg
from tests.helpers import faults
logging.basicConfig(level=logging.INFO)
conf = cfg.ConfigOpts()
conf([], project='x', default_config_files=[], use_env=False)
def make(*functions):
    return faults.make(conf, {path!r}, *functions)
'''


def close(backend):
    """Close a backend.

    That kills idle workers. Where coverage measures them, they end by
    themselves first, and save what they have reached.
    """
    if os.environ.get('COVERAGE_PROCESS_CONFIG'):
        backend.process_pool(1).end_idle()
    backend.close()


@unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
class ParallelTestCase(base.TestCase):
    backend = 'threading'

    def setUp(self):
        super().setUp()
        opts.register(self.conf)
        self.addCleanup(close, self.selected.backend)
        # Tests share classes, and each is to be watched anew.
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_periodic.drivers._processes._watched',
                weakref.WeakKeyDictionary(),
            )
        )
        self.useFixture(fixtures.Timeout(10 * BOUND, gentle=True))
        self.log = self.useFixture(
            fixtures.FakeLogger(level=logging.INFO, format='%(message)s')
        )
        self.path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).join('said')
        )

    def make(self, *functions, **kwargs):
        return faults.make(self.conf, self.path, *functions, **kwargs)

    def tick(self, service, context=None, processes=2, **kwargs):
        start = time.monotonic()
        idle = service.run_periodic_tasks_in_parallel(
            context, processes=processes, **kwargs
        )
        self.seconds = time.monotonic() - start
        self.assertLess(self.seconds, BOUND)
        return idle

    def again(self, service):
        """Make all tasks due once more."""
        for name in service._periodic_last_run:
            service._periodic_last_run[name] = None

    def said(self):
        lines = (
            self.path.read_text().splitlines() if self.path.exists() else []
        )
        self.path.unlink(missing_ok=True)
        return sorted(lines)

    def workers(self):
        workers = self.selected.backend._workers
        return list(workers._idle) if workers else []

    def wait_for_log(self, text):
        deadline = time.monotonic() + BOUND
        while text not in self.log.output:
            self.assertLess(time.monotonic(), deadline, self.log.output)
            time.sleep(0.01)

    def failure(self, *functions, **kwargs):
        """Tick with a faulty task beside two others; return its error."""
        service = self.make(*functions, faults.one, faults.two)
        exc = self.assertRaises(
            BaseException, self.tick, service, raise_on_error=True, **kwargs
        )
        self.assertEqual(
            ['one', 'two'],
            [line for line in self.said() if line in ('one', 'two')],
        )
        # The next tick works, and what failed has had its run.
        self.tick(service)
        self.assertEqual([], self.said())
        service.add_periodic_task(
            periodic_task.periodic_task(run_immediately=True)(faults.three)
        )
        self.tick(service)
        self.assertEqual(['three'], self.said())
        return exc


def is_running(pid):
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(')')[2].split()[0] not in 'ZX'


class ProgramsMixin:
    """For tests whose tasks start programs, and say so."""

    def await_programs(self, *kinds):
        """Return the pids of the programs of these kinds."""
        deadline = time.monotonic() + BOUND
        found = {}
        while set(found) < set(kinds):
            self.assertLess(time.monotonic(), deadline, found)
            time.sleep(0.01)
            lines = self.path.read_text() if self.path.exists() else ''
            found = {
                words[1]: int(words[2])
                for words in map(str.split, lines.splitlines())
                if words[0] == 'program'
            }
        for pid in found.values():
            self.addCleanup(self.kill_program, pid)
        return [found[kind] for kind in kinds]

    def kill_program(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def assert_ended(self, pids, seconds=5):
        deadline = time.monotonic() + seconds
        while any(map(is_running, pids)):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def assert_running(self, pids):
        self.assertEqual(pids, list(filter(is_running, pids)))


class ParentTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.Timeout(3 * PROGRAM_BOUND, gentle=True))
        self.directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.directory / 'said'

    def write(self, name, code):
        path = self.directory / name
        path.write_text(code)
        return path

    def program(self, code):
        prefix = PROGRAM.format(root=str(ROOT), path=str(self.path))
        return prefix + textwrap.dedent(code)

    def start(self, code, **kwargs):
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith('OS_')
        }
        environment.pop('OSLO_PERIODIC_TEST_MONKEY_PATCH', None)
        environment['PYTHONPATH'] = f'{ROOT}:{self.directory}'
        kwargs.setdefault('stdout', subprocess.PIPE)
        kwargs.setdefault('stderr', subprocess.STDOUT)
        environment.pop('PYTHONUNBUFFERED', None)
        flags = []
        if kwargs.pop('isolated', False):
            # Only the program itself says what is on its path.
            flags, environment['PYTHONPATH'] = ['-P'], str(ROOT)
        command = kwargs.pop('command', [sys.executable, *flags, '-c', code])
        process = subprocess.Popen(
            command,
            text=True,
            env=environment,
            cwd=self.directory,
            start_new_session=True,
            **kwargs,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def run_to_end(self, code=None, **kwargs):
        given = kwargs.pop('input', None)
        process = self.start(code, **kwargs)
        output, _ = process.communicate(input=given, timeout=PROGRAM_BOUND)
        return process.returncode, output or ''

    def await_said(self, process, count=1):
        deadline = time.monotonic() + PROGRAM_BOUND
        while True:
            if self.path.exists():
                lines = self.path.read_text().splitlines()
                if len(lines) >= count:
                    return lines
            self.assertIsNone(process.poll(), 'it has ended')
            self.assertLess(time.monotonic(), deadline)
            select.select([], [], [], 0.01)

    def workers_of(self, process):
        """Return pidfds of the children of a process."""
        children = pathlib.Path(
            f'/proc/{process.pid}/task/{process.pid}/children'
        ).read_text()
        found = [os.pidfd_open(int(pid)) for pid in children.split()]
        for fd in found:
            self.addCleanup(os.close, fd)
        return found

    def assert_gone(self, pidfds, seconds):
        deadline = time.monotonic() + seconds
        self.assertNotEqual([], pidfds)
        for fd in pidfds:
            left = max(0, deadline - time.monotonic())
            self.assertTrue(select.select([fd], [], [], left)[0])
