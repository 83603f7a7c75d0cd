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
import threading
import time
from typing import Any

from oslo_periodic.backends import base


class ThreadingBackend(base.Backend):
    """Runs periodic tasks on the threads of the operating system."""

    name = 'threading'

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
        """Give the spawn pool, which is not there yet.

        :raises NotImplementedError: always.
        """
        raise NotImplementedError(
            'the spawn pool of the threading backend is not there yet'
        )
