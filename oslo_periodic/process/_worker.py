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

"""The parent's side of one worker process."""

from __future__ import annotations

from collections.abc import Iterable
import fcntl
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from oslo_periodic.process import _wire

_BOOT = (
    'import json, sys; sys.path[:] = json.loads(sys.argv[1]); '
    'from oslo_periodic.process import _child; _child.main(sys.argv[2:])'
)
#: Seconds from SIGTERM to SIGKILL.
GRACE = 1.0


def above_standard(fd: int) -> int:
    """Move a descriptor off 0 to 2, where it lands if those are closed."""
    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def pipe() -> tuple[int, int]:
    read, write = os.pipe()
    return above_standard(read), above_standard(write)


class Worker:
    """The parent's side of one worker process."""

    def __init__(self, name: str, lifeline: int) -> None:
        """Start the process.

        :param name: for log records and people.
        :param lifeline: the read end of the pipe that ends all workers.
        :raises OSError: if the system gives no more processes, descriptors
            or memory.
        """
        self.name = name
        self.tasks = 0
        #: The tick whose file it has.
        self.tick: Any = None
        #: What the worker was last told of its surroundings.
        self.setup: Any = None
        self.idle_until = 0.0
        opened: list[int] = []
        theirs: list[int] = []
        try:
            ours, commands = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            self._commands = above_standard(ours.detach())
            opened.append(self._commands)
            theirs.append(above_standard(commands.detach()))
            self.results, results = pipe()
            opened.append(self.results)
            theirs.append(results)
            self._stack = above_standard(os.memfd_create('periodic-stack'))
            opened.append(self._stack)
            self._process = subprocess.Popen(  # noqa: S603
                _command(name, [*theirs, lifeline, self._stack]),
                stdin=subprocess.DEVNULL,
                pass_fds=[*theirs, lifeline, self._stack],
            )
            self.sentinel = above_standard(os.pidfd_open(self._process.pid))
        except BaseException:
            for fd in opened:
                os.close(fd)
            if hasattr(self, '_process'):
                self._process.kill()
                self._process.wait()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._socket = socket.socket(fileno=self._commands)
        os.set_blocking(self.results, False)
        self.receiver = _wire.Receiver(self.results)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def tell(self, *command: Any, fd: int | None = None) -> None:
        """Send a command.

        :raises OSError: if the worker is not there any more.
        """
        data = pickle.dumps(command, pickle.HIGHEST_PROTOCOL)
        socket.send_fds(
            self._socket,
            [data],
            [] if fd is None else [fd],
            socket.MSG_NOSIGNAL,
        )

    def signal(self, number: int) -> None:
        """Send a signal, if there still is somebody to get it."""
        try:
            signal.pidfd_send_signal(self.sentinel, number)
        except ProcessLookupError:
            pass

    def has_ended(self, timeout: float = 0.0) -> bool:
        """Say whether the process ends within so many seconds."""
        # Not select, which takes no descriptor above 1023.
        poll = select.poll()
        poll.register(self.sentinel, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))

    def stack(self) -> str:
        """Return what the worker wrote down when SIGTERM came."""
        size = os.fstat(self._stack).st_size
        return os.pread(self._stack, size, 0).decode('utf-8', 'replace')

    def reap(self) -> int:
        """Wait for the end of the process, and forget it.

        :returns: the exit code, or minus the number of the signal.
        """
        code = self._process.wait()
        self._close()
        return code

    def let_go(self) -> None:
        """Forget the process without a look: it is another one's child."""
        self._process.returncode = 0
        self._close()

    def _close(self) -> None:
        for fd in (self.results, self.sentinel, self._stack):
            os.close(fd)
        self._socket.close()


def import_path() -> list[str]:
    """Return what a worker finds modules by."""
    return [
        os.fsdecode(entry) or os.curdir
        for entry in sys.path
        if isinstance(entry, str | bytes)
    ]


def _command(name: str, fds: Iterable[int]) -> list[str]:
    if not sys.executable:
        raise OSError('sys.executable does not say what to start')
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # -P: nothing may be imported from the current directory before the
    # parent's path is there.
    return [
        *(sys.executable, *flags, '-P', '-c', _BOOT),
        *(json.dumps(import_path()), name, *map(str, fds)),
    ]


def end(workers: list[Worker], signal_first: bool = True) -> None:
    """End workers, whatever they do, and reap them.

    :param workers: what to end.
    :param signal_first: False where they have been told to stop.
    """
    if signal_first:
        for worker in workers:
            worker.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for worker in workers:
        if not worker.has_ended(deadline - time.monotonic()):
            worker.signal(signal.SIGKILL)
        worker.reap()
