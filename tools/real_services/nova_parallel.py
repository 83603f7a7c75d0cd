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

"""A parallel tick on nova's own classes and nova's real CONF.

    FOLDER/nova/bin/python tools/real_services/nova_parallel.py

Run it with the interpreter of nova's environment, which run.py makes. The
options of nova have lambdas for types, so its CONF does not pickle, and
oslo.service cannot run this. It prints what a task sees in a worker process
of an option from the file, of an override, and of the identity of CONF.
"""

from __future__ import annotations

import os
import pathlib
import pickle
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')
os.environ.setdefault('OS_OSLO_PERIODIC__BACKEND', 'threading')

import oslo_service  # noqa: E402

from oslo_periodic import periodic_task  # noqa: E402

# nova imports it from oslo_service.
sys.modules['oslo_service.periodic_task'] = periodic_task
oslo_service.periodic_task = periodic_task

import nova.conf  # noqa: E402
from nova import manager  # noqa: E402

CONF = nova.conf.CONF


class Service(manager.PeriodicTasks):
    """Has two tasks that write down what they see."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def note(self, name: str) -> None:
        """Add a line to the file."""
        operations = CONF.compute.max_concurrent_disk_ops
        with open(self.path, 'a') as file:
            file.write(
                f'{name} in process {os.getpid()}: my_ip {CONF.my_ip}, '
                f'max_concurrent_disk_ops {operations}, host {CONF.host}, '
                f'self.conf is CONF: {self.conf is CONF}\n'
            )

    @periodic_task.periodic_task(run_immediately=True)
    def first(self, context: Any) -> None:
        """Run at once."""
        self.note('first')

    @periodic_task.periodic_task(run_immediately=True)
    def second(self, context: Any) -> None:
        """Run at once, too."""
        self.note('second')


def main() -> None:
    """Tick three times, and show what the tasks have seen."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, 'nova.conf')
        file.write_text(
            '[DEFAULT]\nmy_ip = 192.0.2.7\n'
            '[compute]\nmax_concurrent_disk_ops = 7\n'
        )
        CONF(['--config-file', str(file)], project='nova')
        CONF.set_override('host', 'overridden')
        try:
            pickle.dumps(CONF)
        except Exception as exc:
            print(f'CONF does not pickle: {type(exc).__name__}')
        said = pathlib.Path(directory, 'said')
        service = Service(str(said))
        for _ in range(3):
            service._periodic_last_run = dict.fromkeys(('first', 'second'))
            start = time.monotonic()
            service.run_periodic_tasks_in_parallel(None, processes=2)
            print(f'a tick took {time.monotonic() - start:.3f} s')
        print(said.read_text(), end='')


if __name__ == '__main__':
    main()
