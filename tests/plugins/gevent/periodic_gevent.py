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

"""Green threads of gevent: the backend of a third party."""

from collections.abc import Callable
from concurrent import futures
from typing import Any

import gevent
import gevent.event
import gevent.lock
import gevent.socket

from oslo_periodic.backends import base


class GeventBackend(base.Backend):
    """Runs periodic tasks on the green threads of gevent's hub."""

    name = 'gevent'
    capabilities = frozenset(
        {base.Capability.COOPERATIVE, base.Capability.KILL}
    )

    def sleep(self, seconds: float) -> None:
        """Switch to the hub for at least this many seconds."""
        gevent.sleep(seconds)

    def event(self) -> base.Event:
        """Make an event of gevent."""
        event: base.Event = gevent.event.Event()
        return event

    def worker_pool(self, workers: int) -> futures.Executor:
        """Make a pool of green threads."""
        return _GeventExecutor(workers)

    def wait_readable(self, fd: int, timeout: float | None = None) -> bool:
        """Let the hub wait for a descriptor."""
        try:
            gevent.socket.wait_read(
                fd, timeout=timeout, timeout_exc=TimeoutError()
            )
        except TimeoutError:
            return False
        return True

    def kill(self, call: futures.Future[Any]) -> None:
        """Raise GreenletExit in the greenlet of a call."""
        # A greenlet that is killed before it starts sets no future.
        if isinstance(call, _GeventFuture) and not call.cancel():
            call.greenlet.kill(block=False)


class _GeventFuture(base.EventFuture):
    """The future of a call, with the greenlet that runs it."""

    greenlet: gevent.Greenlet


class _GeventExecutor(futures.Executor):
    """A greenlet for each call; a semaphore limits how many run."""

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f'workers must be at least 1, not {workers}')
        self._free = gevent.lock.Semaphore(workers)
        self._calls: dict[futures.Future[Any], gevent.Greenlet] = {}
        self._shut_down = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> futures.Future[Any]:
        if self._shut_down:
            raise RuntimeError('the worker pool was shut down')
        future = _GeventFuture(gevent.event.Event())
        future.greenlet = gevent.spawn(self._run, future, fn, args, kwargs)
        self._calls[future] = future.greenlet
        return future

    def _run(
        self, future: base.EventFuture, fn: Any, args: Any, kwargs: Any
    ) -> None:
        try:
            with self._free:
                future.run(fn, *args, **kwargs)
        finally:
            # The greenlet may have been killed in the queue.
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
            gevent.joinall(list(calls.values()))
