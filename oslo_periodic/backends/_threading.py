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

from concurrent import futures
import os
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
        """Make a :class:`concurrent.futures.ThreadPoolExecutor`."""
        return futures.ThreadPoolExecutor(
            workers, thread_name_prefix='periodic'
        )

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
