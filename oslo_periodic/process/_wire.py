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

"""How objects and messages travel between the parent and a worker."""

from __future__ import annotations

import collections
from collections.abc import Iterator
import io
import os
import pickle
import struct
import threading
import traceback
from typing import Any

from oslo_periodic import exceptions
from oslo_periodic.process import _conf

_LENGTH = struct.Struct('!Q')
#: Stands for a command that is in the memory file that comes with it.
LARGE = b'large'


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> Any:
        light = getattr(type(obj), 'reduce_for_worker', None)
        return _conf.reduce(obj) if light is None else light(obj)


def dump(value: object) -> bytes:
    """Pickle a value.

    A ConfigOpts in it is reduced by `_conf`, and an object that has a method
    ``reduce_for_worker`` by that method.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    # Not getbuffer, which saves a copy: CPython 3.12.1 crashes, and 3.13.0
    # complains, when the garbage collector finds such a view in a cycle.
    return buffer.getvalue()


class BufferReader:
    """A file over a buffer; a read copies only what it returns."""

    def __init__(self, buffer: bytes | memoryview) -> None:
        self._view = memoryview(buffer)
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return up to this many bytes."""
        data = bytes(self._view[self._at : self._at + size])
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Fill a buffer; return the number of bytes."""
        data = self._view[self._at : self._at + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readline(self) -> bytes:
        """Refuse: only old pickle protocols, unused here, have lines."""
        raise pickle.UnpicklingError('an old pickle protocol')

    def release(self) -> None:
        """Release the buffer."""
        self._view.release()


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module."""
    return f'{type(value).__module__}.{type(value).__qualname__}'


def safe_text(exc: BaseException) -> str:
    """Return the text of an exception, even if its __str__ raises."""
    try:
        return str(exc)
    except Exception as broken:
        return f'<its __str__ has raised {broken!r}>'


class _ParentUnpickler(pickle.Unpickler):
    """Finds the classes of the main program, as a worker names it."""

    def find_class(self, module: str, name: str) -> Any:
        if module == '__mp_main__':
            module = '__main__'
        return super().find_class(module, name)


def load(data: bytes) -> Any:
    """Unpickle an object that a worker has sent."""
    return _ParentUnpickler(io.BytesIO(data)).load()


def pack_exception(exc: BaseException) -> tuple[Any, ...]:
    """Reduce an exception to plain data.

    :returns: the exception as a pickle, or None if it does not survive
        pickling, and what a stand-in needs: the name of its type, its text
        and its traceback.
    """
    text = ''.join(traceback.format_exception(exc))
    data: bytes | None = None
    try:
        data = dump(exc)
        if type(pickle.loads(data)) is not type(exc):  # noqa: S301
            data = None
    except BaseException:
        # Its methods may do anything; they must not do it in the parent.
        data = None
    return data, type_name(exc), safe_text(exc), text


def unpack_exception(packed: tuple[Any, ...]) -> BaseException:
    """Restore an exception from what :func:`pack_exception` returned."""
    data, name, message, text = packed
    exc: BaseException | None = None
    if data is not None:
        try:
            exc = load(data)
        except Exception:
            exc = None  # Such as a module that only the worker can import.
    # A task may end itself, but not the process that waits for it.
    if not isinstance(exc, BaseException) or isinstance(
        exc, KeyboardInterrupt | SystemExit
    ):
        exc = exceptions.RemoteError(f'{name}: {message}')
    exc.__cause__ = exceptions.RemoteTraceback(f'\n"""\n{text}"""')
    return exc


class Sender:
    """The worker's end of the pipe to the parent; for any thread.

    A thread that finds the pipe in use leaves its message to the thread that
    uses it. So a signal handler that logs, in the middle of a write, does not
    wait for the thread that it has interrupted.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._frames: collections.deque[bytes] = collections.deque()

    def send(self, *message: Any) -> None:
        """Write a message whole, in this thread or in another."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if self._fd < 0:
            return
        self._frames.append(_LENGTH.pack(len(data)) + data)
        while self._frames and self._lock.acquire(blocking=False):
            try:
                while self._frames:
                    view = memoryview(self._frames.popleft())
                    while view:
                        view = view[os.write(self._fd, view) :]
            finally:
                self._lock.release()

    def close(self) -> None:
        """Drop messages from now on, and close the pipe.

        It does not wait: in a forked child, the lock may be held for ever.
        """
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
        except OSError:
            pass  # The code of a task has closed it.


class Receiver:
    """The parent's end of the pipe; it never waits for data."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()
        #: Whether the worker's end is closed.
        self.ended = False

    def receive(self) -> list[tuple[Any, ...]]:
        """Read what has come, and return the messages that are complete."""
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                self.ended = True
                break
            self._buffer += data
            if len(data) < 1 << 16:
                break
        return list(self._messages())

    def _messages(self) -> Iterator[tuple[Any, ...]]:
        buffer = self._buffer
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            end = _LENGTH.size + length
            if len(buffer) < end:
                break
            frame = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            # A frame holds plain data; an object that may fail to unpickle
            # is in it as bytes.
            yield pickle.loads(frame)  # noqa: S301
