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

"""The listening Unix socket of the control server, and its file.

The file belongs to the process that made it: only that process removes it,
on close or at its exit. A forked child closes its copies of the descriptors,
so that a child that outlives its parent does not keep the path busy.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import socket
import stat
import time

from oslo_periodic.backends import base
from oslo_periodic import exceptions

#: Seconds to wait for other processes that bind the same path.
_LOCK_PATIENCE = 5.0
#: Seconds between two tries to lock.
_LOCK_PAUSE = 0.02


class Listener:
    """A listening socket, and the file that clients connect to."""

    def __init__(self, path: str, backend: base.Backend) -> None:
        """Bind the socket, and listen.

        :param path: the path of the file; ``{pid}`` stands for the process
            ID.
        :param backend: the backend that waits.
        :raises RunnerError: if the socket cannot be bound.
        """
        self.path = path.replace('{pid}', str(os.getpid()))
        self._pid = os.getpid()
        self._socket = _bind(self.path, backend)
        self._identity = _identity(self.path)
        self.is_shut_down = False
        #: The connections that were accepted and are open, oldest first.
        self.connections: dict[socket.socket, None] = {}
        _open.add(self)

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 if it is closed."""
        return self._socket.fileno()

    def accept(self) -> socket.socket:
        """Accept a connection.

        :raises OSError: if there is none, or the socket is shut down.
        """
        connection = self._socket.accept()[0]
        connection.setblocking(False)
        return connection

    def shut_down(self) -> None:
        """Remove the file, and wake the thread that accepts."""
        if self.is_shut_down or self._pid != os.getpid():
            return
        self.is_shut_down = True
        self.remove_file()
        shut_down(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; the thread that accepts must have ended."""
        _open.discard(self)
        if self._pid == os.getpid():
            self._socket.close()

    def remove_file(self) -> None:
        """Remove the file, unless another process has replaced it."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                os.unlink(self.path)

    def drop_in_child(self) -> None:
        """Close the descriptors in a forked child; nothing else changes."""
        self.is_shut_down = True
        for inherited in (self._socket, *self.connections):
            # Not by close, which would reach the hub of the parent.
            with contextlib.suppress(OSError):
                os.close(inherited.detach())


#: The listeners of this process.
_open: set[Listener] = set()


def _remove_files() -> None:
    """Remove the files of sockets that nothing has closed before the exit."""
    for listener in list(_open):
        listener.remove_file()


def _drop_in_child() -> None:
    for listener in list(_open):
        listener.drop_in_child()
    _open.clear()


atexit.register(_remove_files)
os.register_at_fork(after_in_child=_drop_in_child)


def shut_down(connection: socket.socket, how: int) -> None:
    """Shut a socket down, which wakes every thread that waits for it."""
    with contextlib.suppress(OSError):  # The socket is closed already.
        connection.shutdown(how)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _bind(path: str, backend: base.Backend) -> socket.socket:
    if not os.path.isabs(path):
        raise exceptions.RunnerError(
            f'control_socket must be an absolute path, not {path!r}'
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before bind, so that the file never exists with another mode.
        os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        # Two processes that find one stale file must not both replace it.
        with _lock(f'{path}.lock', backend):
            _remove_stale(path)
            listener.bind(path)
            listener.listen()
        listener.setblocking(False)
    except (OSError, ValueError) as exc:
        listener.close()
        raise exceptions.RunnerError(
            f'cannot listen on control_socket = {path}: {exc}'
        ) from exc
    return listener


@contextlib.contextmanager
def _lock(path: str, backend: base.Backend) -> Iterator[None]:
    """Hold a lock file, which is removed afterwards.

    :raises OSError: if it cannot be locked in time.
    """
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)
        try:
            if _try_lock(fd, path):
                try:
                    yield
                finally:
                    # While it is locked: a process that waits for it sees
                    # that the file is another one, and tries again.
                    os.unlink(path)
                    # A child that was forked meanwhile shares the lock.
                    fcntl.flock(fd, fcntl.LOCK_UN)
                return
        finally:
            os.close(fd)
        if time.monotonic() > deadline:
            raise OSError(errno.EAGAIN, f'another process holds {path}')
        backend.sleep(_LOCK_PAUSE)


def _try_lock(fd: int, path: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = os.fstat(fd)
        return (locked.st_dev, locked.st_ino) == _identity(path)
    except (BlockingIOError, FileNotFoundError):
        return False


def _remove_stale(path: str) -> None:
    """Remove a socket file on which no process listens.

    :raises OSError: if a process does.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # bind will refuse the path.
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full backlog of a process that does not accept must not block.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, 'another process listens on it')
