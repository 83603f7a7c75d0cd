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

"""What a worker runs."""

from __future__ import annotations

import faulthandler
import fcntl
import logging
import mmap
import os
import pickle
import signal
import socket
import sys
from typing import Any

from oslo_periodic.process import _logs
from oslo_periodic.process import _main
from oslo_periodic.process import _wire

#: Larger than any command.
_MAX_COMMAND = 1 << 17


def main(arguments: list[str]) -> None:
    """Serve the parent until it says stop.

    :param arguments: the name of this worker and its four file descriptors.
    """
    name = arguments[0]
    command_fd, result_fd, life_fd, stack_fd = map(int, arguments[1:])
    _die_with_parent(life_fd)
    _handle_signals(stack_fd)
    worker = Worker(name, socket.socket(fileno=command_fd), result_fd)
    worker.serve()
    # Not sys.exit: a thread that a task has left behind must not keep the
    # process, and its atexit handlers are the parent's business.
    _flush()
    os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # It is closed, or nobody listens any more.


def _leave_the_pipe() -> None:
    """Let a child that a task has forked log to its standard error.

    Two processes that write to the pipe would mix up their messages.
    """
    logging.root.handlers[:] = [logging.StreamHandler()]


def _die_with_parent(fd: int) -> None:
    """Have the kernel kill this process when the parent is gone.

    A thread that waits for the end of the pipe would not run while C code
    holds the GIL. The description is opened anew, as who gets the signal is
    a property of it and all workers have inherited the same.
    """
    own = os.open(f'/proc/self/fd/{fd}', os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(own, fcntl.F_GETFL)
    fcntl.fcntl(own, fcntl.F_SETFL, flags | os.O_ASYNC)
    # The parent may have gone before that, and then no signal comes.
    os.set_blocking(own, False)
    try:
        if not os.read(own, 1):
            os._exit(1)
    except BlockingIOError:
        pass


def _handle_signals(stack_fd: int) -> None:
    # A handler, and not SIG_IGN, which the children of tasks would inherit.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.register(
        signal.SIGTERM, file=stack_fd, all_threads=True, chain=True
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Worker:
    """Takes commands, one at a time, and reports."""

    def __init__(self, name: str, commands: socket.socket, fd: int) -> None:
        self._commands = commands
        self._sender = _wire.Sender(fd)
        self._handler = _logs.ForwardingHandler(self._sender, name)
        self._state: mmap.mmap | None = None
        self._main: dict[str, Any] = {}
        logging.root.handlers[:] = [self._handler]
        os.register_at_fork(after_in_child=_leave_the_pipe)

    def serve(self) -> None:
        """Do what the parent says, until it says stop or is gone."""
        while True:
            data, fds, _flags, _address = socket.recv_fds(
                self._commands, _MAX_COMMAND, 1
            )
            if not data:
                return
            command, *arguments = pickle.loads(data)  # noqa: S301
            if command == 'stop':
                return
            if command == 'tick':
                self._tick(fds[0], *arguments)
            elif command == 'run':
                self._run(*arguments)
            else:
                self._forget()

    def _tick(self, fd: int, setup: Any, main: dict[str, Any]) -> None:
        self._forget()
        if setup is not None:
            levels, disabled, path = setup
            _logs.apply_levels(levels, disabled)
            sys.path[:] = path
        self._main = main
        self._state = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        os.close(fd)

    def _forget(self) -> None:
        if self._state is not None:
            self._state.close()
            self._state = None

    def _run(self, name: str, full_name: str, watch: bool) -> None:
        self._handler.task = full_name
        try:
            instance, context, function = self._load(name)
        except BaseException as exc:
            self._sender.send('load failed', _wire.pack_exception(exc))
            return
        before = _fingerprints(instance) if watch else {}
        self._sender.send('began')
        failure = None
        try:
            function(instance, context)
        except BaseException as exc:
            failure = _wire.pack_exception(exc)
        changed = None
        if watch:
            changed = _changes(before, _fingerprints(instance))
        self._handler.task = None
        _flush()
        self._sender.send('ended', failure, changed)

    def _load(self, name: str) -> tuple[Any, Any, Any]:
        assert self._state is not None  # noqa: S101 # nosec B101
        reader = _wire.Reader(self._state)
        try:
            instance, context = _Unpickler(reader, self._main).load()
        finally:
            reader.release()
        function = instance._periodic_state.function(name)
        if function is None:
            raise LookupError(
                f'{type(instance).__qualname__} has no periodic task {name!r} '
                'in a worker process: see that its module defines it there, '
                'too, or add it with add_periodic_task'
            )
        return instance, context, function


class _Unpickler(pickle.Unpickler):
    """Imports the program's main module, if it is asked for."""

    def __init__(self, file: _wire.Reader, main: dict[str, Any]) -> None:
        super().__init__(file)
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        if module == '__main__':
            _main.ensure(self._main)
        return super().find_class(module, name)


#: What can only be replaced, and need not be pickled to see it.
_IMMUTABLE = (str, bytes, int, float, type(None))


def _fingerprints(instance: Any) -> dict[str, Any]:
    """Pickle each attribute of an instance that a task may change."""
    found: dict[str, Any] = {}
    # An instance may have __slots__ alone.
    for name, value in getattr(instance, '__dict__', {}).items():
        if name == '_periodic_state':
            continue
        if isinstance(value, _IMMUTABLE):
            found[name] = value
            continue
        try:
            found[name] = _wire.dump(value)
        except Exception:
            found[name] = id(value)
    return found


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    names = sorted({*before, *after})
    return [name for name in names if before.get(name) != after.get(name)]
