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

from collections.abc import Callable
from concurrent import futures
import os
import queue
import sys
import threading
import time
from typing import Any
import weakref

from oslo_periodic.backends import base


class ThreadingBackend(base.Backend):
    """Runs periodic tasks on the threads of the operating system."""

    name = 'threading'
    capabilities = frozenset({base.Capability.PROCESSES})

    def __init__(self) -> None:
        """Start nothing; processes come when they are needed."""
        self._lock = threading.Lock()
        self._workers: Any = None

    def sleep(self, seconds: float) -> None:
        """Sleep; the threads are pre-emptive, so nobody needs the turn."""
        time.sleep(seconds)

    def event(self) -> base.Event:
        """Make a :class:`threading.Event`."""
        return threading.Event()

    def worker_pool(self, workers: int) -> futures.Executor:
        """Make a pool of daemon threads."""
        return _DaemonExecutor(workers)

    def wait_readable(self, fd: int, timeout: float | None = None) -> bool:
        """Let the system wait for a descriptor."""
        return base.is_readable(fd, timeout)

    def process_pool(self, processes: int | None = None) -> Any:
        """Give the spawn pool: :mod:`oslo_periodic.process`.

        The worker processes are shared by all that ask this backend.

        :param processes: how many processes at most; None means one for
            each CPU that this process may use.
        :raises ValueError: if ``processes`` is less than 1.
        :raises UnsupportedBackendError: if threads are monkey-patched.
        """
        # Here, so that whoever runs no processes does not load their code.
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
                weakref.finalize(self, self._workers.close)
        return _pool.ProcessPool(self._workers, processes)

    def close(self) -> None:
        """End the worker processes."""
        with self._lock:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()


class _DaemonExecutor(futures.Executor):
    """A bounded pool of daemon threads, which are started as needed.

    The standard library's joins its threads when the process ends, so a call
    that hangs would keep the process for ever; and where no thread can be
    started, its ``submit`` fails and runs the call nonetheless, later.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f'workers must be at least 1, not {workers}')
        self._workers = workers
        self._shut_down = False
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        #: Released by a thread that has nothing to do.
        self._idle = threading.Semaphore(0)
        # The threads know only these two, and end when the pool is gone.
        weakref.finalize(self, self._calls.put, None)

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> futures.Future[Any]:
        future: futures.Future[Any] = futures.Future()
        with self._lock:
            if self._shut_down:
                raise RuntimeError('the worker pool was shut down')
            if not self._idle.acquire(blocking=False):
                self._start_thread()
            self._calls.put((future, fn, args, kwargs))
        return future

    def _start_thread(self) -> None:
        if len(self._threads) == self._workers:
            return
        thread = threading.Thread(
            target=_work,
            args=(self._calls, self._idle),
            name=f'periodic_{len(self._threads)}',
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            # Those that there are will get to it.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        with self._lock:
            self._shut_down = True
            calls = []
            while cancel_futures and not self._calls.empty():
                calls.append(self._calls.get())
            self._calls.put(None)
        for call in calls:
            if call is not None:
                call[0].cancel()
        if wait:
            for thread in self._threads:
                thread.join()


def _work(calls: queue.SimpleQueue[Any], idle: threading.Semaphore) -> None:
    """Do calls until there is None, which is left to the other threads."""
    while True:
        call = calls.get()
        if call is None:
            calls.put(None)
            return
        future, fn, args, kwargs = call
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as exc:
                future.set_exception(exc)
        # What a call has left behind must not live until the next one.
        del call, future, fn, args, kwargs
        idle.release()


def refuse_patched_threads() -> None:
    """See that threads are the operating system's.

    :raises UnsupportedBackendError: if eventlet or gevent has replaced them:
        what waits for a process would stop the hub or wait for ever, now and
        then.
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
                'where a pool of processes hangs now and then: do not patch '
                '"thread", or use run_periodic_tasks instead.'
            )
