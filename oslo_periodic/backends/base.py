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

"""The interface between periodic tasks and a concurrency library.

A backend is what periodic tasks need of such a library and nothing more:
a way to sleep, an event, a bounded worker pool, a wait for a descriptor and,
if the library can do it, a pool of worker processes and an end to a call.
This module imports the standard library alone, so that a plugin can be
written against it at no cost.
"""

from __future__ import annotations

import abc
from concurrent import futures
import enum
import select
import time
from typing import Any
from typing import ClassVar
from typing import Protocol
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from oslo_periodic.backends import _process_pool

    Began = _process_pool.Began
    Call = _process_pool.Call
    Ended = _process_pool.Ended
    Payload = _process_pool.Payload
    PoolSettings = _process_pool.PoolSettings
    ProcessPool = _process_pool.ProcessPool

__all__ = [
    'Backend',
    'Began',
    'Call',
    'Capability',
    'Ended',
    'Event',
    'EventFuture',
    'Payload',
    'PoolSettings',
    'ProcessPool',
    'is_readable',
]

#: Seconds between two looks at a descriptor: the first pause and the longest.
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05


# A type checker must not take every name for one of this module's.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the protocol of process pools when it is first used."""
        if name not in __all__:
            raise AttributeError(
                f'module {__name__!r} has no attribute {name!r}'
            )
        from oslo_periodic.backends import _process_pool

        value = globals()[name] = getattr(_process_pool, name)
        return value

    def __dir__() -> list[str]:
        """List the names that are not loaded yet, too."""
        return sorted({*globals(), *__all__})


class Capability(enum.Enum):
    """What a backend declares; its name and its type are never compared."""

    #: Tasks share a native thread and run until they yield, so a tick has to
    #: yield after every task.
    COOPERATIVE = 'cooperative'
    #: :meth:`Backend.process_pool` returns a pool.
    PROCESSES = 'processes'
    #: :meth:`Backend.kill` ends a call of a worker pool.
    KILL = 'kill'


class Event(Protocol):
    """A flag to wait for; :class:`threading.Event` is the model."""

    def set(self) -> None:
        """Set the flag and wake every thread that waits."""

    def clear(self) -> None:
        """Clear the flag."""

    def is_set(self) -> bool:
        """Return whether the flag is set."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set.

        :param timeout: seconds to wait at most; None waits for ever.
        :returns: whether the flag is set.
        """


class Backend(abc.ABC):
    """What a concurrency library has to offer for periodic tasks.

    Derive from it, implement the three abstract methods and name the class
    in an entry point of the group ``oslo.periodic.backends``. The class is
    called without arguments, once in a process.
    """

    #: The name that selects the backend; its entry point has the same name.
    name: ClassVar[str]
    #: What it can do beyond the abstract methods.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    @abc.abstractmethod
    def sleep(self, seconds: float) -> None:
        """Pause this thread of execution, and let the others run.

        :param seconds: how long; 0 only yields to the others.
        """

    @abc.abstractmethod
    def event(self) -> Event:
        """Make an event whose ``wait`` blocks only the thread that waits."""

    @abc.abstractmethod
    def worker_pool(self, workers: int) -> futures.Executor:
        """Make a pool that runs a limited number of calls at a time.

        Its ``submit`` never blocks: a call that finds no free worker waits in
        the order of submission. Waiting for the result of the future that it
        returns blocks only the thread that waits. An exception of the call,
        of any class, is set on the future.

        :param workers: how many calls run at a time, at least 1.
        :raises ValueError: if ``workers`` is less than 1.
        """

    def named_worker_pool(self, workers: int, name: str) -> futures.Executor:
        """Make a worker pool whose threads carry a name, if they can.

        The base class ignores the name. A backend whose threads have names
        overrides this, and calls them ``<name>_0``, ``<name>_1`` and so on.

        :param workers: as for :meth:`worker_pool`.
        :param name: what the pool is for, such as ``periodic-worker``.
        """
        return self.worker_pool(workers)

    def wait_readable(self, fd: int, timeout: float | None = None) -> bool:
        """Wait until a descriptor has something to read.

        The end of the stream counts, too. The base class looks again and
        again, less and less often; a backend that can wait for a descriptor
        without blocking the other threads should override it.

        :param fd: a pipe or a socket that no other thread waits for.
        :param timeout: seconds to wait at most; None waits for ever.
        :returns: whether there is something to read.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not is_readable(fd, 0):
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                pause = min(pause, left)
            self.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
        return True

    def kill(self, call: futures.Future[Any]) -> None:
        """End a running call of a worker pool from outside.

        Its ``finally`` clauses run, and its future gets an exception that is
        no :class:`Exception`. This may return before that. A call that has
        not started is cancelled, and one that has ended is not touched.

        :param call: the future that ``submit`` returned.
        :raises UnsupportedBackendError: if calls cannot be ended.
        """
        from oslo_periodic import exceptions

        raise exceptions.UnsupportedBackendError(
            f'The {self.name!r} backend cannot end a call from outside: '
            'choose a backend that lists the capability '
            f'{Capability.KILL.value!r}.'
        )

    def process_pool(self, processes: int | None = None) -> ProcessPool:
        """Return a pool of worker processes, if this backend has one.

        :param processes: how many processes at most; None means one for
            each CPU that this process may use.
        :raises UnsupportedBackendError: if it has none.
        """
        # Not at import: the interface loads nothing but the standard library.
        from oslo_periodic import exceptions

        raise exceptions.UnsupportedBackendError(
            f'The {self.name!r} backend has no process pool: choose a '
            'backend that lists the capability '
            f'{Capability.PROCESSES.value!r} (the "threading" backend does), '
            'or use run_periodic_tasks instead.'
        )

    def close(self) -> None:
        """Release what the backend holds, such as worker processes.

        A backend that is used again after this starts anew.
        """


def is_readable(fd: int, timeout: float | None) -> bool:
    """Wait for a descriptor by means of the standard library.

    :param fd: the descriptor.
    :param timeout: seconds to wait at most; None waits for ever.
    :returns: whether there is something to read.
    """
    # A monkey-patched process has no poll; its select is no system call, and
    # so takes descriptors above 1023, too.
    if not hasattr(select, 'poll'):
        return bool(select.select([fd], [], [], timeout)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


class EventFuture(futures.Future[Any]):
    """A future whose waits go through an event of the backend.

    :class:`concurrent.futures.Future` waits on a native lock, which would
    stop every green thread of a hub. A backend over a hub returns instances
    of this class instead.
    """

    def __init__(self, event: Event) -> None:
        """Make a pending future.

        :param event: a fresh event of the backend.
        """
        super().__init__()
        self._done_event = event
        self.add_done_callback(lambda future: event.set())

    def result(self, timeout: float | None = None) -> Any:
        """Return what the call returned; as the base class does."""
        self._done_event.wait(timeout)
        return super().result(timeout=0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised; as the base class does."""
        self._done_event.wait(timeout)
        return super().exception(timeout=0)

    def run(self, call: Callable[..., Any], /, *args: Any, **kw: Any) -> None:
        """Run the call in this thread, unless it was cancelled before."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            result = call(*args, **kw)
        except BaseException as exc:
            self.set_exception(exc)
        else:
            self.set_result(result)
