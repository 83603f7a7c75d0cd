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

"""Native threads."""

from __future__ import annotations

import collections
from collections.abc import Callable
from concurrent import futures
import os
import sys
import threading
import time
from typing import Any
import weakref

from oslo_periodic.backends import _at_exit
from oslo_periodic.backends import base


class ThreadingBackend(base.Backend):
    """Runs periodic tasks on the threads of the operating system."""

    name = 'threading'
    capabilities = frozenset({base.Capability.PROCESSES})

    def __init__(self) -> None:
        """Start nothing; threads and processes start when they are needed."""
        self._lock = threading.Lock()
        self._workers: Any = None
        _instances.add(self)

    def sleep(self, seconds: float) -> None:
        """Sleep; threads are pre-emptive, so 0 need not yield."""
        time.sleep(seconds)

    def event(self) -> base.Event:
        """Make a :class:`threading.Event`."""
        return threading.Event()

    def worker_pool(self, workers: int) -> futures.Executor:
        """Make a pool of daemon threads."""
        return _DaemonExecutor(workers)

    def named_worker_pool(self, workers: int, name: str) -> futures.Executor:
        """Make a pool of daemon threads that have a name in a stack dump."""
        pool = self.worker_pool(workers)
        if isinstance(pool, _DaemonExecutor):
            pool.thread_name = name
        return pool

    def wait_readable(self, fd: int, timeout: float | None = None) -> bool:
        """Wait for a descriptor in a system call."""
        return base.is_readable(fd, timeout)

    def process_pool(self, processes: int | None = None) -> base.ProcessPool:
        """Return the spawn pool: :mod:`oslo_periodic.process`.

        All pools of this backend share the worker processes.

        :param processes: how many processes at most; None means one for
            each CPU that this process may use.
        :raises ValueError: if ``processes`` is less than 1.
        :raises UnsupportedBackendError: if threads are monkey-patched.
        """
        # Not at import: most processes run no worker processes.
        from oslo_periodic.process import _pool
        from oslo_periodic.process import _workers

        if processes is None:
            processes = len(os.sched_getaffinity(0))
        if processes < 1:
            raise ValueError(f'processes must be at least 1, not {processes}')
        refuse_patched_threads()
        with self._lock:
            if self._workers is None or self._workers.closed:
                self._workers = _workers.Workers()
                _at_exit.close_with(self, self._workers.close)
        return _pool.SpawnPool(self._workers, processes)

    def close(self) -> None:
        """End the worker processes."""
        with self._lock:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()


_instances: weakref.WeakSet[ThreadingBackend] = weakref.WeakSet()


def _after_fork() -> None:
    for backend in list(_instances):
        # Another thread, which the child does not have, may have held it.
        backend._lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class _DaemonExecutor(futures.Executor):
    """A bounded pool of daemon threads, which start as they are needed.

    The executor of the standard library joins its threads when the process
    ends, so a call that hangs would keep the process alive; and if no thread
    can be started, its ``submit`` raises but runs the call later.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f'workers must be at least 1, not {workers}')
        self._workers = workers
        self._threads: list[threading.Thread] = []
        #: Threads that start from now on are called this, and a number.
        self.thread_name = 'periodic'
        # The threads hold the queue and not the pool, and so end with it.
        self._queue = _Queue()
        _at_exit.close_with(self, self._queue.close_here)

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> futures.Future[Any]:
        future: futures.Future[Any] = futures.Future()
        queue = self._queue
        with queue.changed:
            if queue.closed:
                raise RuntimeError('the worker pool was shut down')
            if (
                queue.takers <= len(queue.calls)
                and len(self._threads) < self._workers
            ):
                self._start_thread()
            queue.calls.append((future, fn, args, kwargs))
            queue.changed.notify()
        return future

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._queue.work,
            name=f'{self.thread_name}_{len(self._threads)}',
            daemon=True,
        )
        self._queue.takers += 1
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            self._queue.takers -= 1
            # The threads that have started will run the call.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        calls = self._queue.close(cancel_futures)
        for future, *_call in calls:
            future.cancel()
        if wait:
            for thread in self._threads:
                thread.join()


class _Queue:
    """The calls of a pool, shared by its threads."""

    def __init__(self) -> None:
        self.calls: collections.deque[tuple[Any, ...]] = collections.deque()
        self.changed = threading.Condition()
        #: Threads that wait for a call, or are about to.
        self.takers = 0
        self.closed = False
        self._pid = os.getpid()

    def close_here(self) -> None:
        """End the threads, unless this is a forked child, which has none.

        In the child, the lock may be held for ever.
        """
        if os.getpid() == self._pid:
            self.close()

    def close(self, take_all: bool = False) -> list[tuple[Any, ...]]:
        """End the threads once no calls are left.

        :param take_all: whether to remove the calls that have not started.
        :returns: the calls that were removed.
        """
        with self.changed:
            self.closed = True
            taken = list(self.calls) if take_all else []
            if take_all:
                self.calls.clear()
            self.changed.notify_all()
        return taken

    def work(self) -> None:
        """Run calls until it is closed; the target of each thread."""
        while (call := self._take()) is not None:
            future, fn, args, kwargs = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as exc:
                    future.set_exception(exc)
            # Nothing of this call may live until the next one.
            del call, future, fn, args, kwargs
            if os.getpid() != self._pid:
                return  # The call has forked; its child ends here.
            with self.changed:
                self.takers += 1

    def _take(self) -> tuple[Any, ...] | None:
        with self.changed:
            while not self.calls and not self.closed:
                self.changed.wait()
            self.takers -= 1
            return self.calls.popleft() if self.calls else None


def refuse_patched_threads() -> None:
    """Refuse to run processes if threads are monkey-patched.

    :raises UnsupportedBackendError: if eventlet or gevent has replaced
        threads: waiting for a process would now and then stop the hub or
        never end.
    """
    patcher = sys.modules.get('eventlet.patcher')
    monkey = sys.modules.get('gevent.monkey')
    for library, patched in (
        ('eventlet', patcher and patcher.is_monkey_patched('thread')),
        ('gevent', monkey and monkey.is_module_patched('threading')),
    ):
        if patched:
            from oslo_periodic import exceptions

            raise exceptions.UnsupportedBackendError(
                f'{library} has monkey-patched the threads of this process, '
                'so a process pool would hang now and then: do not patch '
                '"thread", or use run_periodic_tasks instead.'
            )
