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

"""Show in a minute what oslo.periodic is for.

A slow task delays the others in a serial tick, and no task under a runner,
whichever the backend. Then an operator finds out why a task is late, changes
a task by configuration, and pauses it.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from oslo_config import cfg

from examples import beats
from oslo_periodic import periodic_task

#: Seconds that each of the three comparisons takes.
_SECONDS = 7.5
#: Columns of a timeline in one second.
_COLUMNS = 8
_COMMAND = (sys.executable, '-m', 'oslo_periodic')
_SERVICE = 'examples.beats:Beats'
#: Seconds to wait for the service.
_PATIENCE = 20
#: The largest lateness that counts as none, on a busy machine.
_ON_TIME = 1.0


class Demo:
    """The steps of the demo, in a directory of their own."""

    def __init__(self, directory: pathlib.Path) -> None:
        """Describe the files."""
        self._beats = directory / 'beats.txt'
        self._conf = directory / 'demo.conf'
        self._log = directory / 'service.log'
        self._socket = directory / 'control'

    def run(self) -> Iterator[str]:
        """Show all steps.

        :returns: a line for each result that is not as expected.
        """
        print(
            f'A heartbeat is due every {beats.SPACING} s. A backup is due '
            f'every 4 s and takes {beats.BACKUP:g} s.\n'
            f'A # is a heartbeat; each column is 1/{_COLUMNS} s.\n'
        )
        if self._tick() < _ON_TIME:
            yield 'the backup delayed no heartbeat of the serial tick'
        for backend in ('threading', 'eventlet'):
            if self._compare(backend) > _ON_TIME:
                yield f'a heartbeat was late under a runner on {backend}'
        yield from self._operate()

    def _tick(self) -> float:
        """Drive the tasks as oslo.service does, and show the heartbeats."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        tasks = beats.Beats(conf)
        conf.set_override('beats', str(self._beats))
        end = time.monotonic() + _SECONDS
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, tasks.run_periodic_tasks(None)))
        return self._show('one after the other, in a serial tick')

    def _compare(self, backend: str) -> float:
        """Run the service on a backend, and show the heartbeats."""
        self._configure()
        self._call(
            'run',
            _SERVICE,
            '--config-file',
            str(self._conf),
            '--backend',
            backend,
            '--for',
            str(_SECONDS),
        )
        return self._show(f'each in a worker, on {backend}')

    def _show(self, title: str) -> float:
        """Print a timeline, and return the largest lateness."""
        lines = self._beats.read_text().splitlines()
        self._beats.unlink()
        found = [tuple(map(float, line.split())) for line in lines]
        line = ['.'] * int(_SECONDS * _COLUMNS)
        for at, _late in found:
            line[min(int(at * _COLUMNS), len(line) - 1)] = '#'
        latest = max(late for _at, late in found)
        print(
            f'  {"".join(line)}  {len(found):2} runs, at most {latest:.3f} s'
        )
        print(f'  {title:<{len(line)}}      late\n', flush=True)
        return latest

    def _operate(self) -> Iterator[str]:
        """Look at a running service, and change it."""
        print('An operator asks why a task is late:\n')
        self._configure(
            'overdue_factor = 1\n[periodic_task:Beats.backup]\nspacing = 0.5'
        )
        with self._service() as service:
            if not self._await_problem():
                yield 'ctl health has not reported the late backup'
            columns = ('Task', 'Spacing', 'Activity', 'Due or since', 'Runs')
            self._ctl('status', *(f'-c={column}' for column in columns))
            yield from self._change(service)
            for command in ('pause', 'run', 'resume'):
                self._ctl(command, 'heartbeat')
            self._ctl('stop')
            if service.wait(_PATIENCE):
                yield 'the service has failed'

    def _change(self, service: subprocess.Popen[bytes]) -> Iterator[str]:
        """Change the configuration of the running service."""
        print(
            'The configuration changes, and SIGHUP makes the service read '
            'it:\n\n  [periodic_task:Beats.backup]\n  spacing = 60\n'
        )
        self._configure('[periodic_task:Beats.backup]\nspacing = 60')
        service.send_signal(signal.SIGHUP)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            for line in self._log.read_text().splitlines():
                if 'spacing 0.5 -> 60' in line:
                    print(f'  {line}\n')
                    return
            time.sleep(0.1)
        yield 'the spacing of the backup has not changed'

    def _configure(self, text: str = '') -> None:
        self._conf.write_text(
            f'[DEFAULT]\nbeats = {self._beats}\n[oslo_periodic]\n'
            f'control_socket = {self._socket}\n{text}\n'
        )

    @contextlib.contextmanager
    def _service(self) -> Iterator[subprocess.Popen[bytes]]:
        arguments = ('run', _SERVICE, '--config-file', str(self._conf))
        with self._log.open('w') as log:
            service = subprocess.Popen(  # noqa: S603
                [*_COMMAND, *arguments], stderr=log
            )
        try:
            yield service
        finally:
            service.kill()
            service.wait()

    def _ctl(self, *arguments: str) -> None:
        """Run a command of ctl, and print it and its output."""
        self._print(arguments, self._call_ctl(*arguments, codes=(0,)).stdout)

    def _await_problem(self) -> bool:
        """Check the health until a problem is reported, and print it."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            done = self._call_ctl('health', codes=(0, 1))
            if done.stdout.startswith('Unhealthy'):
                self._print(('health',), done.stdout)
                return True
        return False

    def _print(self, arguments: tuple[str, ...], output: str) -> None:
        print(f'  $ oslo-periodic ctl {shlex.join(arguments)}')
        for line in output.splitlines():
            print(f'  {line}')
        print(flush=True)

    def _call_ctl(
        self, *arguments: str, codes: tuple[int, ...]
    ) -> subprocess.CompletedProcess[str]:
        file = ('--config-file', str(self._conf))
        return self._call('ctl', *arguments, *file, codes=codes)

    def _call(
        self, *arguments: str, codes: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603
            [*_COMMAND, *arguments], capture_output=True, text=True
        )
        if done.returncode not in codes:
            raise SystemExit(
                f'oslo-periodic {shlex.join(arguments)} has ended with '
                f'{done.returncode}: {done.stdout}{done.stderr}'
            )
        return done


def main() -> int:
    """Show the demo.

    :returns: the exit code: 1 if a result is not as expected.
    """
    periodic_task.LOG.disabled = True
    with tempfile.TemporaryDirectory() as directory:
        wrong = list(Demo(pathlib.Path(directory)).run())
    for line in wrong:
        print(f'Unexpected: {line}', file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
