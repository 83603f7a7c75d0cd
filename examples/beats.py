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

"""A service with a frequent task and a slow one, for the demo."""

from __future__ import annotations

import pathlib

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic import periodic_task

#: Seconds between two heartbeats.
SPACING = 0.5
#: Seconds that a backup takes.
BACKUP = 2.0


class Beats(periodic_task.PeriodicTasks):
    """Writes the lateness of each heartbeat to a file."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Read the path of the file, the option ``beats``."""
        super().__init__(conf)
        conf.register_opts([cfg.StrOpt('beats', default='beats.txt')])
        self._started = periodic_task.now()

    @periodic_task.periodic_task(spacing=SPACING, run_immediately=True)
    def heartbeat(self, context: object) -> None:
        """Record that the service is alive."""
        late = self.periodic_state()['heartbeat'].running_lateness or 0.0
        at = periodic_task.now() - self._started
        with pathlib.Path(self.conf.beats).open('a') as beats:
            beats.write(f'{at} {late}\n')

    @periodic_task.periodic_task(spacing=4)
    def backup(self, context: object) -> None:
        """Wait, as for a slow disk."""
        backends.get_backend().sleep(BACKUP)
