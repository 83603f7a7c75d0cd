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
where the backend can, a process pool and an end to a call. This module
imports the standard library alone, so that a plugin can be written against it
at no cost.
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


#: Seconds between two looks at a descriptor, at first and at last.
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05


class Capability(enum.Enum):
    """What a backend declares of itself; nobody looks at its name or type."""

    #: Tasks share a native thread and run until they yield, so a tick has to
    #: give the others a turn after every task.
    COOPERATIVE = 'cooperative'
    #: :meth:`Backend.process_pool` gives a pool.
    PROCESSES = 'processes'
    #: :meth:`Backend.kill` ends a call of a worker pool.
    KILL = 'kill'


class Event(Protocol):
    """A flag to wait for; :class:`threading.Event` is the model."""

    def set(self) -> None:
        """Raise the flag and wake everybody who waits."""

    def clear(self) -> None:
        """Lower the flag."""

    def is_set(self) -> bool:
        """Say whether the flag is up."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is up.

        :param timeout: how long to wait at most, in seconds; None waits for
            ever.
        :returns: whether the flag is up.
        """


class Backend(abc.ABC):
    """What a concurrency library has to offer for periodic tasks.

    Derive from it, implement the three abstract methods and name the class
    in an entry point of the group ``oslo.periodic.backends``. It is called
    without arguments, once in a process.
    """

    #: The name it is chosen by; the same as that of its entry point.
    name: ClassVar[str]
    #: What it can do beyond the abstract methods.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    @abc.abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let this thread of execution rest, and the others run.

        :param seconds: how long; 0 only gives the others a turn.
        """

    @abc.abstractmethod
    def event(self) -> Event:
        """Make an event whose ``wait`` blocks only the one who waits."""

    @abc.abstractmethod
    def worker_pool(self, workers: int) -> futures.Executor:
        """Make a pool that runs at most so many calls at a time.

        Its ``submit`` never blocks: what finds no free worker waits its turn
        in the order of submission. The result of the future that it returns
        can be waited for without blocking anybody else, and an exception of
        the call, whatever its class, is the future's.

        :param workers: how many calls run at a time, at least 1.
        :raises ValueError: if ``workers`` is less than 1.
        """

    def wait_readable(self, fd: int, timeout: float | None = None) -> bool:
        """Wait until there is something to read from a descriptor.

        The end of what it reads from counts, too. This one looks again and
        again, less and less often; a backend that can wait for a descriptor
        without stopping the others does better.

        :param fd: a pipe or a socket; nobody else waits for it meanwhile.
        :param timeout: how long to wait at most, in seconds; None waits for
            ever.
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
        """End a call of a worker pool that runs, from outside.

        Its ``finally`` clauses run, and its future gets an exception that is
        no :class:`Exception`. This may return before that. A call that has
        not started is cancelled, and one that has ended is left alone.

        :param call: the future that ``submit`` returned.
        :raises UnsupportedBackendError: if calls cannot be ended.
        """
        from oslo_periodic import exceptions

        raise exceptions.UnsupportedBackendError(
            f'The {self.name!r} backend cannot end a call from outside: '
            'choose a backend that lists the capability '
            f'{Capability.KILL.value!r}.'
        )

    def process_pool(self, processes: int | None = None) -> Any:
        """Give the pool of spawned processes, if this backend has one.

        :param processes: how many processes at most; None means one for
            each CPU that this process may use.
        :raises UnsupportedBackendError: if it has none.
        """
        # Here, because the interface must not load anything but the standard
        # library before somebody needs it.
        from oslo_periodic import exceptions

        raise exceptions.UnsupportedBackendError(
            f'The {self.name!r} backend has no process pool: choose a '
            'backend that lists the capability '
            f'{Capability.PROCESSES.value!r} (the "threading" backend does), '
            'or use run_periodic_tasks instead.'
        )

    def close(self) -> None:
        """Let go of what the backend holds, such as worker processes.

        It is called by whoever is done with periodic tasks; a backend that
        is used again afterwards starts anew.
        """


def is_readable(fd: int, timeout: float | None) -> bool:
    """Wait for a descriptor with the means of the standard library.

    :param fd: the descriptor.
    :param timeout: seconds to wait at most; None waits for ever.
    :returns: whether there is something to read.
    """
    # A monkey-patched process has no poll, and its select is no system call
    # that cannot take a descriptor above 1023.
    if not hasattr(select, 'poll'):
        return bool(select.select([fd], [], [], timeout)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


class EventFuture(futures.Future[Any]):
    """A future whose waits go through an event of the backend.

    :class:`concurrent.futures.Future` waits on a native lock, which would
    stop every green thread of a hub. A backend over a hub hands out this
    class instead.
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
        """Do the call here and now, unless it was cancelled before."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            result = call(*args, **kw)
        except BaseException as exc:
            self.set_exception(exc)
        else:
            self.set_result(result)
