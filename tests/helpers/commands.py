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

"""Run the command oslo-periodic in a separate process and directory.

Its output is read through a pipe, with a deadline.
"""

import os
import select
import subprocess
import sys
import textwrap
import time

import fixtures

from tests import base

VARIABLE = 'OS_OSLO_PERIODIC__BACKEND'

SERVICES = """
    import os
    import sys
    import time

    from oslo_config import cfg
    from oslo_periodic import backends
    from oslo_periodic import periodic_task


    class Base(periodic_task.PeriodicTasks):
        def __init__(self, conf):
            word = cfg.StrOpt('word', default='none', mutable=True)
            conf.register_opts([word])
            super().__init__(conf)

        def say(self, *words):
            # One write, because tasks may print at the same time.
            sys.stdout.write(' '.join(words) + '\\n')
            sys.stdout.flush()


    class Idle(Base):
        '''Runs its only task once, at the start.'''

        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def tell(self, context):
            self.say('on', backends.get_backend().name)


    class Frequent(Base):
        '''Prints an option repeatedly.'''

        @periodic_task.periodic_task(spacing=0.05, run_immediately=True)
        def tell(self, context):
            self.say('word', self.conf.word)


    class Slow(Base):
        '''Has a task that runs until a file exists.'''

        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def wait(self, context):
            self.say('started')
            end = time.monotonic() + 30
            while not os.path.exists('go') and time.monotonic() < end:
                backends.get_backend().sleep(0.01)
            self.say('ended')

        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def last(self, context):
            self.say('last')


    class Failing(Base):
        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def fail(self, context):
            raise ValueError('on purpose')

        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def after(self, context):
            self.say('after')
"""


class Command:
    """A running command; reading its output has a deadline."""

    def __init__(
        self,
        arguments,
        directory,
        environment,
        module='oslo_periodic.cmd.main',
    ):
        self._process = subprocess.Popen(
            [sys.executable, '-m', module, *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._read = {
            stream.fileno(): b''
            for stream in (self._process.stdout, self._process.stderr)
        }
        self._stdout, self._stderr = self._read
        self._open = set(self._read)
        self._seen = 0

    @property
    def pid(self):
        return self._process.pid

    @property
    def stdout(self):
        return self._read[self._stdout].decode()

    @property
    def stderr(self):
        return self._read[self._stderr].decode()

    def _read_more(self, end):
        left = end - time.monotonic()
        ready = left > 0 and select.select(list(self._open), [], [], left)[0]
        if not ready:
            raise AssertionError(
                f'still waiting; stdout: {self.stdout} stderr: {self.stderr}'
            )
        for descriptor in ready:
            data = os.read(descriptor, 65536)
            self._read[descriptor] += data
            if not data:
                self._open.discard(descriptor)

    def expect(self, line):
        """Wait for a line of stdout, after the last one waited for."""
        end = time.monotonic() + base.TIMEOUT
        while True:
            found = self.stdout.find(f'{line}\n', self._seen)
            if found >= 0:
                self._seen = found + len(line) + 1
                return
            if not self._open:
                raise AssertionError(f'never printed {line}: {self.stderr}')
            self._read_more(end)

    def expect_error(self, text, times=1):
        """Wait until stderr contains a text this many times."""
        end = time.monotonic() + base.TIMEOUT
        while self.stderr.count(text) < times:
            if not self._open:
                raise AssertionError(f'never logged {text}: {self.stderr}')
            self._read_more(end)

    def close_stdout(self):
        """Close the pipe that the command prints to."""
        self._open.discard(self._stdout)
        self._process.stdout.close()

    def send(self, number):
        self._process.send_signal(number)

    def wait(self):
        """Read to the end and return the exit code."""
        end = time.monotonic() + base.TIMEOUT
        while self._open:
            self._read_more(end)
        return self._process.wait(base.TIMEOUT)

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(base.TIMEOUT)
        self._process.stdout.close()
        self._process.stderr.close()


class CommandTestCase(base.TestCase):
    """Writes the services to a directory and runs the command there."""

    def setUp(self):
        super().setUp()
        self.directory = self.useFixture(fixtures.TempDir()).path
        self.write('services.py', SERVICES)

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        # Atomically, so that the command never reads half of the file.
        with open(f'{path}.new', 'w') as f:
            f.write(textwrap.dedent(text))
        os.rename(f'{path}.new', path)
        return path

    def start(
        self, *arguments, environment=None, columns=None, path=None, **options
    ):
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(('OS_', 'OSLO_PERIODIC_', 'COLUMNS'))
        }
        if path is not None:
            variables['PYTHONPATH'] = path
        if columns is not None:
            variables['COLUMNS'] = str(columns)
        if environment is not None:
            variables[VARIABLE] = environment
        command = Command(arguments, self.directory, variables, **options)
        self.addCleanup(command.close)
        return command

    def succeed(self, *arguments, environment=None):
        """Run the command to its end, and return what it printed."""
        command = self.start(*arguments, environment=environment)
        self.assertEqual(0, command.wait(), command.stderr)
        return command.stdout
