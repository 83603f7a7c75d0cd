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

import contextlib
import errno
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import time
from typing import Any

from oslo_periodic.backends import _interpreter
from oslo_periodic.process import _descriptors
from oslo_periodic.process import _setup
from oslo_periodic.process import _signals
from oslo_periodic.process import _tree
from oslo_periodic.process import _wire

_BOOT = (
    'import json, sys; sys.path[:] = json.load(open(int(sys.argv[1]))); '
    'from oslo_periodic.process import _child; _child.main(sys.argv[2:])'
)
#: Bytes; larger commands travel in memory files.
_MAX_MESSAGE = 1 << 14
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
        #: What it was last sent.
        self.setup: _setup.Setup | None = None
        self.idle_until = 0.0
        #: When its run began, as `_tree.now` returned it; None between runs.
        self.running_since: float | None = None
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            self._socket, commands = _socket_pair()
            ours.callback(self._socket.close)
            theirs.callback(os.close, commands)
            self.results, results = _descriptors.pipe()
            ours.callback(os.close, self.results)
            theirs.callback(os.close, results)
            self._stack = _descriptors.memory_file('periodic-stack')
            ours.callback(os.close, self._stack)
            path = json.dumps(_setup.import_path()).encode()
            path_fd = _descriptors.memory_file('periodic-path', path)
            theirs.callback(os.close, path_fd)
            fds = [path_fd, commands, results, lifeline, self._stack]
            # Until the worker handles signals, they wait; so does Ctrl-C
            # here, until the worker would be killed by it.
            with _signals.blocked():
                self._process = _start(name, fds)
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
        if len(data) > _MAX_MESSAGE:
            large = _descriptors.memory_file('periodic-command', data)
            try:
                fds = [large] if fd is None else [large, fd]
                self._send(_wire.LARGE, fds)
            finally:
                os.close(large)
        else:
            self._send(data, [] if fd is None else [fd])

    def _send(self, data: bytes, fds: list[int]) -> None:
        if fds:
            socket.send_fds(self._socket, [data], fds, socket.MSG_NOSIGNAL)
        else:
            self._socket.send(data, socket.MSG_NOSIGNAL)

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


def _start(name: str, fds: list[int]) -> subprocess.Popen[bytes]:
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # -P: nothing may be imported from the current directory before the
    # parent's path is set.
    command = [
        *(_interpreter.executable(), *flags, '-P', '-c', _BOOT),
        *(str(fds[0]), name, *map(str, fds[1:])),
    ]
    try:
        return _spawn(command, fds, None)
    except OSError as exc:
        if exc.errno != errno.E2BIG:
            raise
    return _spawn(command, fds, _setup.essential_environment())


def _spawn(
    command: list[str], fds: list[int], environment: dict[str, str] | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=fds,
        process_group=0,
    )


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
