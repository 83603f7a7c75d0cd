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

"""What crosses between the parent and a worker, and how."""

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
#: How deep an error looks for what does not pickle.
_DEPTH = 8


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        light = getattr(type(obj), 'reduce_for_worker', None)
        return _conf.reduce(obj) if light is None else light(obj)


def dump(value: Any) -> bytes:
    """Pickle a value.

    A ConfigOpts in it crosses as `_conf` says, and what has a method
    ``reduce_for_worker`` as that says.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    # Not getbuffer, which spares a copy: CPython 3.12.1 crashes, and 3.13.0
    # complains, where the garbage collector finds such a view in a cycle.
    return buffer.getvalue()


class Reader:
    """A file over a buffer, of which no more is copied than is asked for."""

    def __init__(self, buffer: Any) -> None:
        self._view = memoryview(buffer)
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return so many bytes, or what is left."""
        data = bytes(self._view[self._at : self._at + size])
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return how far."""
        data = self._view[self._at : self._at + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readline(self) -> bytes:
        """Return a line; no protocol that is used here has any."""
        raise pickle.UnpicklingError('an old pickle protocol')

    def release(self) -> None:
        """Let go of the buffer."""
        self._view.release()


def dump_state(instance: Any, context: Any) -> bytes:
    """Pickle what the tasks of a tick work on.

    :raises NotPicklableError: naming the attribute that does not pickle, and
        its type.
    """
    try:
        return dump((instance, context))
    except Exception as exc:
        culprit = None
        for name, value in (('self', instance), ('context', context)):
            culprit = culprit or _find_culprit(name, value, _DEPTH)
        path, value, reason = culprit or ('self', instance, exc)
        raise exceptions.NotPicklableError(
            f'{path} cannot be pickled, so it cannot go to a worker process: '
            f'it is a {_type_name(value)} ({type(reason).__name__}: {reason})'
        ) from exc


def _type_name(value: Any) -> str:
    return f'{type(value).__module__}.{type(value).__qualname__}'


def _find_culprit(
    path: str, value: Any, depth: int
) -> tuple[str, Any, Exception] | None:
    """Find the innermost part of a value that does not pickle."""
    try:
        dump(value)
        return None
    except Exception as exc:
        reason = exc
    if depth:
        for label, part in _parts(value):
            found = _find_culprit(path + label, part, depth - 1)
            if found is not None:
                return found
    return path, value, reason


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f'[{key!r}]', part) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [(f'[{i}]', part) for i, part in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [('{...}', part) for part in value]
    try:
        state = value.__getstate__()
    except Exception:
        return []
    if isinstance(state, tuple):
        parts = [part for part in state if isinstance(part, dict)]
        state = {k: v for part in parts for k, v in part.items()}
    if not isinstance(state, dict):
        return []
    return [(f'.{key}', part) for key, part in state.items()]


def safe_text(exc: BaseException) -> str:
    """Return the text of an exception, whatever its __str__ does."""
    try:
        return str(exc)
    except Exception as broken:
        return f'<its text cannot be had: {broken!r}>'


class _ParentUnpickler(pickle.Unpickler):
    """Knows what the main program is called in a worker."""

    def find_class(self, module: str, name: str) -> Any:
        if module == '__mp_main__':
            module = '__main__'
        return super().find_class(module, name)


def load(data: bytes) -> Any:
    """Unpickle what a worker has sent."""
    return _ParentUnpickler(io.BytesIO(data)).load()


def pack_exception(exc: BaseException) -> tuple[Any, ...]:
    """Make something of an exception that is sure to arrive.

    :returns: the exception as a pickle, or None if it does not survive one,
        and what a stand-in needs: its type's name, its text, the traceback.
    """
    text = ''.join(traceback.format_exception(exc))
    data: bytes | None = None
    try:
        data = dump(exc)
        if type(pickle.loads(data)) is not type(exc):  # noqa: S301
            data = None
    except BaseException:
        # Whatever it does when it is copied, it must not do it in the parent.
        data = None
    return data, _type_name(exc), safe_text(exc), text


def unpack_exception(packed: tuple[Any, ...]) -> BaseException:
    """Make an exception of what :func:`pack_exception` made."""
    data, name, message, text = packed
    exc: BaseException | None = None
    if data is not None:
        try:
            exc = load(data)
        except Exception:
            exc = None  # The parent lacks what the worker had.
    # The task may end itself, and not the process that awaits it.
    if not isinstance(exc, BaseException) or isinstance(
        exc, KeyboardInterrupt | SystemExit
    ):
        exc = exceptions.RemoteError(f'{name}: {message}')
    exc.__cause__ = exceptions.RemoteTraceback(f'\n"""\n{text}"""')
    return exc


class Sender:
    """The worker's end of the pipe to the parent; for any thread.

    Whoever finds the pipe in use leaves the message to the one who uses it.
    So a signal handler that logs, in the middle of a write, waits for nobody.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._frames: collections.deque[bytes] = collections.deque()

    def send(self, *message: Any) -> None:
        """Write a message whole, or have it written."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._frames.append(_LENGTH.pack(len(data)) + data)
        while self._frames and self._lock.acquire(blocking=False):
            try:
                while self._frames:
                    view = memoryview(self._frames.popleft())
                    while view:
                        view = view[os.write(self._fd, view) :]
            finally:
                self._lock.release()


class Receiver:
    """The parent's end of that pipe: never waits for the rest of a message."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()
        #: Whether the worker's end is closed.
        self.ended = False

    def receive(self) -> list[tuple[Any, ...]]:
        """Read what there is, and return the messages that are complete."""
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
            # All that a frame holds is plain data; what may fail to unpickle
            # is bytes in it.
            yield pickle.loads(frame)  # noqa: S301
