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

"""The worker process."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import mmap
import os
import pickle
import socket
import sys
import traceback
from typing import TYPE_CHECKING

from oslo_periodic.process import _adopt
from oslo_periodic.process import _libc
from oslo_periodic.process import _logs
from oslo_periodic.process import _setup
from oslo_periodic.process import _signals
from oslo_periodic.process import _wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from oslo_periodic.backends import base

#: Larger than any message; the rest comes in memory files.
_MAX_MESSAGE = 1 << 17


def main(arguments: list[str]) -> None:
    """Serve the parent until it sends 'stop'.

    :param arguments: the name of this worker and its four file descriptors.
    """
    name = arguments[0]
    command_fd, result_fd, life_fd, stack_fd = map(int, arguments[1:])
    lifeline = _adopt.Lifeline(life_fd)
    _signals.handle(stack_fd)
    _libc.become_subreaper()
    commands = socket.socket(fileno=command_fd)
    worker = ChildWorker(name, commands, result_fd, lifeline)
    code = 1
    try:
        code = worker.serve()
    except BaseException:
        _print_exception()
    finally:
        _exit(code)


def _exit(code: int) -> None:
    """End this process at once.

    Not with sys.exit: a thread that a task left behind must not keep the
    process alive, and the service's atexit handlers are for the parent.
    """
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # It is closed, or its reader is.


def _print_exception() -> None:
    """Print the current exception to standard error, as far as possible."""
    # There may be no memory, or no stream.
    with contextlib.suppress(Exception):
        traceback.print_exc()


def _forget_request() -> None:
    """Forget the request context that oslo.context keeps for this thread.

    oslo.log would write it on the lines of the next task, too.
    """
    module = sys.modules.get('oslo_context.context')
    store = getattr(module, '_request_store', None)
    if store is not None and hasattr(store, 'context'):
        del store.context


class _ForkGuard:
    """Ends a child that the guarded code has forked where that code ends.

    The child ends as a program of that code would. If it went on, it would
    serve the parent as a second worker on the same channels.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *details: object) -> None:
        if os.getpid() == self._pid:
            return
        exc = sys.exception()
        if exc is None:
            _exit(0)
        if isinstance(exc, SystemExit) and isinstance(exc.code, int | None):
            _exit(exc.code or 0)
        _print_exception()
        _exit(1)


class ChildWorker:
    """Runs the commands of the parent, one at a time, and reports."""

    def __init__(
        self,
        name: str,
        commands: socket.socket,
        fd: int,
        lifeline: _adopt.Lifeline,
    ) -> None:
        """Send all log records of this process to the parent.

        :param name: the name of this worker.
        :param commands: brings the commands.
        :param fd: the pipe that takes the reports.
        :param lifeline: ends this process with the parent.
        """
        self._lifeline = lifeline
        self._guard = _ForkGuard()
        self._commands = commands
        self._sender = _wire.Sender(fd)
        self._handler = _logs.ForwardingHandler(self._sender, name)
        #: The payload of the tick: pickled without its data, its data, and
        #: as a whole once it is loaded.
        self._head = b''
        self._data: mmap.mmap | None = None
        self._view = memoryview(b'')
        self._payload: base.Payload | None = None
        logging.root.handlers[:] = [self._handler]
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        """Release, in a child that a task has forked, the worker's channels.

        Two processes on one pipe would mix up their messages. The child logs
        to standard error.
        """
        self._sender.close()
        self._commands.close()
        logging.root.handlers[:] = [logging.StreamHandler()]

    def serve(self) -> int:
        """Run commands until the parent sends 'stop' or has ended.

        :returns: the exit code of the process.
        """
        while True:
            data, fds, _flags, _address = socket.recv_fds(
                self._commands, _MAX_MESSAGE, 2
            )
            if not data:
                return 0
            if data == _wire.LARGE:
                with open(fds.pop(0), 'rb') as file:
                    data = file.read()
            command, *arguments = pickle.loads(data)  # noqa: S301
            if command == 'stop':
                return 0
            if command == 'tick':
                self._tick(fds[0], *arguments)
            elif command == 'run':
                self._run(*arguments)
            else:
                self._forget()
                self._lifeline.hold_process()
                if _adopt.is_spent():
                    return 0

    def _tick(self, fd: int, setup: _setup.Setup | None, head: bytes) -> None:
        self._forget()
        if setup is not None:
            _setup.apply(setup)
        self._lifeline.hold_group()
        self._head = head
        self._data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._data)
        os.close(fd)

    def _forget(self) -> None:
        if self._data is not None:
            self._payload = None
            self._view.release()
            self._data.close()
            self._data = None

    def _run(self, name: str, full_name: str, watch: bool) -> None:
        self._handler.task = full_name
        failure = changed = None
        try:
            with self._guard:
                task = self._load(name, full_name, watch)
        except BaseException as exc:
            self._sender.send('load failed', _wire.pack_exception(exc))
            return
        self._sender.send('began')
        try:
            with self._guard:
                # Nothing of the context of a run is there in the next one.
                changed = contextvars.Context().run(task)
        except BaseException as exc:
            failure = _wire.pack_exception(exc)
        _forget_request()
        self._handler.task = None
        _flush()
        self._sender.send('ended', failure, changed)

    def _load(
        self, name: str, full_name: str, watch: bool
    ) -> Callable[[], list[str] | None]:
        # Not at import, so that a failure is reported as one of loading.
        from oslo_periodic.backends import base

        if self._payload is None:
            head: base.Payload = pickle.loads(self._head)  # noqa: S301
            self._payload = head.with_data(self._view)
        return self._payload.load(base.Call(name, full_name, watch))
