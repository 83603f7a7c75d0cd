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

"""What the tests of ticks and of runners share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from oslo_periodic._conformance import _rules
from oslo_periodic import periodic_task


class TaskSuite(_rules.BackendSuite):
    """Makes periodic tasks of functions."""

    def _tasks(
        self, *functions: Callable[[Any, Any], Any], **policy: Any
    ) -> periodic_task.PeriodicTasks:
        conf = cfg.ConfigOpts()
        conf([], project='conformance', use_env=False, default_config_files=[])
        tasks = periodic_task.PeriodicTasks(conf)
        for number, function in enumerate(functions):
            decorate = periodic_task.periodic_task(
                name=f'task_{number}',
                spacing=60,
                run_immediately=True,
                **policy,
            )
            tasks.add_periodic_task(decorate(function))
        return tasks
