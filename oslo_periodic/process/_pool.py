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

"""The spawn pool, as one user sees it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from oslo_periodic.process import _tick
from oslo_periodic.process import _workers

if TYPE_CHECKING:
    from collections.abc import Generator
    from collections.abc import Sequence

    from oslo_periodic.backends import base


class SpawnPool:
    """A `base.ProcessPool` over the workers that all its users share."""

    def __init__(self, workers: _workers.Workers, processes: int) -> None:
        """Make a view of the shared workers.

        :param workers: the shared workers.
        :param processes: how many of them run calls at a time, at most.
        """
        self._workers = workers
        self.processes = processes

    def run(
        self,
        payload: base.Payload,
        calls: Sequence[base.Call],
        settings: base.PoolSettings,
    ) -> Generator[base.Began | base.Ended, None, None]:
        """Run calls; see `base.ProcessPool.run`."""
        tick = _tick.PoolTick(self._workers, payload, calls, settings)
        return tick.events(min(self.processes, len(calls)))

    def end_idle(self) -> None:
        """End the idle workers, whichever pool has started them."""
        self._workers.retire(self._workers.take_idle(sys.maxsize))

    def close(self) -> None:
        """End all workers, whichever pool has started them."""
        self._workers.close()
