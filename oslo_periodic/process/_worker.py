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
import contextlib
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

from oslo_periodic.process import _descriptors
from oslo_periodic.process import _signals
from oslo_periodic.process import _tree
from oslo_periodic.process import _wire

_BOOT = (
    'import json, sys; sys.path[:] = json.loads(sys.argv[1]); '
    'from oslo_periodic.process import _child; _child.main(sys.argv[2:])'
)
#: Seconds that a worker has to write down its stack, or to end by itself.
GRACE = 1.0


class Worker:
    """The parent's side of one worker process."""

    def __init__(self, name: str, lifeline: int) -> None:
        """Start the process.

        :param name: for log records, and for people.
        :param lifeline: the read end of the pipe that ends all workers.
        :raises OSError: if the system gives no more processes, descriptors
            or memory.
        """
        self.name = name
        #: How many calls it has run.
        self.calls = 0
        #: The tick whose payload it has mapped.
        self.tick: object = None
        #: The log levels and import path that it was last sent.
        self.setup: object = None
        self.idle_until = 0.0
        #: When its run began, as `_tree.now` returned it; None between runs.
        self.running_since: int | None = None
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            self._socket, commands = _socket_pair()
            ours.callback(self._socket.close)
            theirs.callback(os.close, commands)
            self.results, results = _descriptors.pipe()
            ours.callback(os.close, self.results)
            theirs.callback(os.close, results)
            self._stack = _descriptors.memory_file('periodic-stack')
            ours.callback(os.close, self._stack)
            fds = [commands, results, lifeline, self._stack]
            # Until the worker handles signals, they wait.
            theirs.enter_context(_signals.blocked())
            self._process = subprocess.Popen(  # noqa: S603
                _command(name, fds),
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                process_group=0,
            )
            ours.callback(self._process.wait)
            ours.callback(self._process.kill)
            self.sentinel = _descriptors.above_standard(
                os.pidfd_open(self._process.pid)
            )
            ours.pop_all()
        os.set_blocking(self.results, False)
        self.receiver = _wire.Receiver(self.results)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def send(self, *command: Any, fd: int | None = None) -> None:
        """Send a command.

        :param command: its name and its arguments.
        :param fd: a descriptor that goes with it.
        :raises OSError: if the worker has ended.
        """
        data = pickle.dumps(command, pickle.HIGHEST_PROTOCOL)
        socket.send_fds(
            self._socket,
            [data],
            [] if fd is None else [fd],
            socket.MSG_NOSIGNAL,
        )

    def request_stack(self) -> None:
        """Make it write down its stack and stop, unless it has ended."""
        _tree.send(self.sentinel, _signals.STACK)

    def is_stopped(self) -> bool:
        """Return whether it has written down its stack and stopped."""
        return _tree.is_stopped(self.pid)

    def kill(self) -> None:
        """Kill it, with the programs that its run has started."""
        _tree.kill(self.pid, self.sentinel, self.running_since)

    def has_ended(self, timeout: float = 0.0) -> bool:
        """Return whether the process has ended, after a wait.

        :param timeout: seconds to wait for it at most.
        """
        # Not select, which takes no descriptor above 1023.
        poll = select.poll()
        poll.register(self.sentinel, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))

    def stack(self) -> str:
        """Return the stack that the worker wrote down."""
        size = os.fstat(self._stack).st_size
        return os.pread(self._stack, size, 0).decode('utf-8', 'replace')

    def reap(self) -> int:
        """Wait for the end of the process, and close its descriptors.

        :returns: the exit code, or minus the number of the signal.
        """
        code = self._process.wait()
        self._close()
        return code

    def abandon(self) -> None:
        """Close its descriptors in a fork, which is not the parent of it."""
        # Popen must neither wait for the process nor complain of it.
        self._process.returncode = 0
        self._close()

    def _close(self) -> None:
        for fd in (self.results, self.sentinel, self._stack):
            os.close(fd)
        self._socket.close()


def _socket_pair() -> tuple[socket.socket, int]:
    """Return the parent's end of a pair, and the descriptor of the other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        return (
            socket.socket(fileno=_descriptors.above_standard(ours.detach())),
            _descriptors.above_standard(theirs.detach()),
        )


def import_path() -> list[str]:
    """Return the path on which a worker finds modules."""
    return [
        os.fsdecode(entry) or os.curdir
        for entry in sys.path
        if isinstance(entry, str | bytes)
    ]


def _command(name: str, fds: Iterable[int]) -> list[str]:
    if not sys.executable:
        raise OSError('sys.executable does not name an interpreter to start')
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # -P: nothing may be imported from the current directory before the
    # parent's path is set.
    return [
        *(sys.executable, *flags, '-P', '-c', _BOOT),
        *(json.dumps(import_path()), name, *map(str, fds)),
    ]


def wait_or_kill(workers: list[Worker]) -> None:
    """Reap workers that were sent 'stop'; kill those that do not end.

    :param workers: workers that run nothing.
    """
    deadline = time.monotonic() + GRACE
    for worker in workers:
        if not worker.has_ended(deadline - time.monotonic()):
            worker.kill()
        worker.reap()


def describe_exit(code: int) -> str:
    """Describe how a process has ended.

    :param code: the exit code, or minus the number of the signal.
    """
    if code < 0:
        try:
            return f'was killed by {signal.Signals(-code).name}'
        except ValueError:
            return f'was killed by signal {-code}'
    return f'exited with code {code}'
