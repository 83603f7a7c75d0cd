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

"""Green threads of eventlet, in a monkey-patched process or not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import eventlet  # noqa: H905
from eventlet.green import threading as green_threading  # noqa: H905
from eventlet import hubs  # noqa: H905
from eventlet import semaphore  # noqa: H905

from oslo_periodic.backends import base


class EventletBackend(base.Backend):
    """Runs periodic tasks on the green threads of eventlet's hub."""

    name = 'eventlet'
    capabilities = frozenset(
        {base.Capability.COOPERATIVE, base.Capability.KILL}
    )

    def sleep(self, seconds: float) -> None:
        """Switch to the hub for at least this many seconds."""
        eventlet.sleep(seconds)

    def event(self) -> base.Event:
        """Make an event that is green even if threads are not patched."""
        event: base.Event = green_threading.Event()
        return event

    def worker_pool(self, workers: int) -> futures.Executor:
        """Make a pool of green threads."""
        return _GreenExecutor(workers, self.event)

    def wait_readable(self, fd: int, timeout: float | None = None) -> bool:
        """Let the hub wait for a descriptor."""
        try:
            hubs.trampoline(fd, read=True, timeout=timeout)
        except eventlet.Timeout:
            return False
        return True

    def kill(self, call: futures.Future[Any]) -> None:
        """Raise GreenletExit in the green thread of a call."""
        # A green thread that is killed before it starts sets no future.
        if isinstance(call, _GreenFuture) and not call.cancel():
            call.thread.kill()


class _GreenFuture(base.EventFuture):
    """The future of a call, with the green thread that runs it."""

    thread: Any


class _GreenExecutor(futures.Executor):
    """A green thread for each call; a semaphore limits how many run."""

    def __init__(
        self, workers: int, make_event: Callable[[], base.Event]
    ) -> None:
        if workers < 1:
            raise ValueError(f'workers must be at least 1, not {workers}')
        self._free = semaphore.Semaphore(workers)
        self._make_event = make_event
        self._calls: dict[_GreenFuture, Any] = {}
        self._shut_down = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> futures.Future[Any]:
        if self._shut_down:
            raise RuntimeError('the worker pool was shut down')
        future = _GreenFuture(self._make_event())
        future.thread = eventlet.spawn(self._run, future, fn, args, kwargs)
        self._calls[future] = future.thread
        return future

    def _run(
        self,
        future: _GreenFuture,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        try:
            with self._free:
                future.run(fn, *args, **kwargs)
        finally:
            # The green thread may have been killed in the queue.
            future.cancel()
            self._calls.pop(future, None)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        self._shut_down = True
        calls = dict(self._calls)
        if cancel_futures:
            for future in calls:
                future.cancel()
        if wait:
            for thread in calls.values():
                thread.wait()
