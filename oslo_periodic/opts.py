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

"""Every option of oslo.periodic, and what they say together."""

from __future__ import annotations

import copy
import enum
import math
from typing import Any

from oslo_config import cfg
from oslo_config import types

from oslo_periodic import backends
from oslo_periodic.declare import _policy
from oslo_periodic import status

GROUP = 'oslo_periodic'
#: What the name of each task's group begins with.
TASK_GROUP = 'periodic_task:'


def _values(choices: type[enum.StrEnum]) -> list[str]:
    return [choice.value for choice in choices]


class Seconds(types.Float):
    """A length of time: a float that is finite."""

    def __call__(self, value: Any) -> float:
        """Convert a value.

        :raises ValueError: if it is no length of time.
        """
        seconds = float(super().__call__(value) or 0.0)
        if not math.isfinite(seconds):
            raise ValueError(f'Should be finite, not {value}')
        return seconds


# The option of oslo.service to the letter, or both cannot be registered.
periodic_opts: list[cfg.Opt] = [
    cfg.BoolOpt(
        'run_external_periodic_tasks',
        default=True,
        help='Some periodic tasks can be run in a separate process. '
        'Should we run them here?',
    )
]

backend_opts: list[cfg.Opt] = [
    cfg.StrOpt(
        'backend',
        default=backends.AUTO,
        help='Concurrency library that periodic tasks run on: "threading" '
        'for native threads, "eventlet" for green threads, or the name of '
        'another installed backend (the command "oslo-periodic backends" '
        'lists them). "auto" selects the backend that the service has '
        'initialised in oslo.service, if any; else "eventlet", if it has '
        'monkey-patched threads; else "threading". The option is read when '
        'the service makes its first PeriodicTasks instance. The backend '
        'cannot change after the first periodic tasks have run.',
    )
]

process_opts: list[cfg.Opt] = [
    cfg.Opt(
        'process_idle_timeout',
        type=Seconds(min=0),
        default=300.0,
        mutable=True,
        help='Seconds after which an idle worker process ends. Like the '
        'other process options, this option applies to '
        'run_periodic_tasks_in_parallel and is read at each of its ticks.',
    ),
    cfg.IntOpt(
        'process_max_tasks',
        default=0,
        min=0,
        mutable=True,
        help='Number of tasks that a worker process runs before a new '
        'process replaces it; 0 sets no limit. 1 runs every task in a new '
        'process, at the cost of starting that process (about 0.3 seconds of '
        'CPU time for a small service, several seconds for a large one).',
    ),
    cfg.Opt(
        'process_task_timeout',
        type=Seconds(min=0),
        default=0.0,
        mutable=True,
        help='Seconds that a task may run in a worker process. A task that '
        'exceeds this time is ended and has failed, and its stack is logged. '
        '0 sets no limit.',
    ),
    cfg.BoolOpt(
        'warn_lost_changes',
        default=True,
        mutable=True,
        help='Log a warning, once for each task, if a task in a worker '
        'process changes attributes of its instance. These changes are lost, '
        'because the task works on a copy.',
    ),
]

runner_opts: list[cfg.Opt] = [
    cfg.IntOpt(
        'workers',
        default=8,
        min=1,
        mutable=True,
        help='Number of periodic tasks that a PeriodicRunner runs at the '
        'same time. Tasks that are due while all workers are busy wait for a '
        'worker, in the order in which they are due.',
    ),
    cfg.Opt(
        'graceful_stop_timeout',
        type=Seconds(min=0),
        default=60.0,
        mutable=True,
        help='Seconds that a PeriodicRunner waits for running tasks when it '
        'stops. After that it logs the names of the tasks that are still '
        'running, and ends them as far as the backend can.',
    ),
    cfg.Opt(
        'overdue_factor',
        type=Seconds(min=0),
        default=3.0,
        mutable=True,
        help='Number of spacings that a task may be late before its '
        'PeriodicRunner is unhealthy. A warning then gives the reason, and '
        '"oslo-periodic ctl health" exits with code 1. 0 disables this '
        'check.',
    ),
    cfg.StrOpt(
        'control_socket',
        help='Absolute path of the Unix socket on which a PeriodicRunner '
        'accepts "oslo-periodic ctl" commands. Not set: there is no socket. '
        'Only root and the user of the process can use the socket. Each '
        'process needs its own path: {pid} stands for the process ID. The '
        'option is read when the runner starts.',
    ),
    cfg.IntOpt(
        'failing_after',
        default=5,
        min=0,
        mutable=True,
        help='Number of failures in a row, timeouts included, after which a '
        'task makes its PeriodicRunner unhealthy. 0 disables this check.',
    ),
]

#: What holds for the tasks that nobody says anything else about.
default_opts: list[cfg.Opt] = [
    cfg.StrOpt(
        'default_overlap',
        default=str(_policy.DEFAULT.overlap),
        choices=_values(status.Overlap),
        mutable=True,
        help='Default overlap policy, for tasks that set none: what happens '
        'to a run that is due while the task is still running. "skip" skips '
        'the run; "queue" starts one run when the task has ended.',
    ),
    cfg.StrOpt(
        'default_missed',
        default=str(_policy.DEFAULT.missed),
        choices=_values(status.Missed),
        mutable=True,
        help='Default missed policy, for tasks that set none: what happens '
        'to runs that were missed because the task ran too long or was '
        'paused. "coalesce" drops them, and the task runs when it is next '
        'due; "run_once" runs the task once immediately.',
    ),
    cfg.Opt(
        'default_timeout',
        type=Seconds(min=0),
        default=_policy.DEFAULT.timeout,
        mutable=True,
        help='Default timeout, for tasks that set none: seconds that a run '
        'of a PeriodicRunner may take. The stack of a run that exceeds it is '
        'logged, and the run is ended where possible: green threads and '
        'processes are killed; in a native thread, only the cancel event of '
        'the run is set. 0 sets no limit.',
    ),
    cfg.StrOpt(
        'default_isolation',
        default=str(_policy.DEFAULT.isolation),
        choices=_values(status.Isolation),
        mutable=True,
        help='Default isolation, for tasks that set none: whether a '
        'PeriodicRunner runs them in a "thread" of this process or in a '
        '"process" of the spawn pool. In a process, a task works on a copy '
        'of its instance, and its changes to the instance are lost. Not '
        'every backend supports processes.',
    ),
    cfg.BoolOpt(
        'default_spread',
        default=_policy.DEFAULT.spread,
        mutable=True,
        help='Default spread, for tasks that set none: whether the first run '
        'of a task comes after a part of its spacing that depends on the '
        'host and the task, so that services that start at the same time do '
        'not run their tasks at the same time.',
    ),
]

#: What the group of each task has, as in [periodic_task:Manager.sync]. None
#: leaves a matter to the decorator. They are shared by all groups.
task_opts: list[cfg.Opt] = [
    cfg.Opt(
        'spacing',
        type=Seconds(),
        mutable=True,
        help='Seconds from one run of the task to the next; 0 means 60. A '
        'negative value disables the task.',
    ),
    cfg.BoolOpt('enabled', mutable=True, help='Whether the task runs.'),
    cfg.Opt(
        'timeout',
        type=Seconds(min=0),
        mutable=True,
        help='Seconds that a run may take; 0 sets no limit.',
    ),
    *(
        cfg.StrOpt(
            name,
            choices=_values(choices),
            mutable=True,
            help=f'Like [{GROUP}] default_{name}, for this task.',
        )
        for name, choices in (
            ('overlap', status.Overlap),
            ('missed', status.Missed),
            ('isolation', status.Isolation),
        )
    ),
    cfg.BoolOpt(
        'spread',
        mutable=True,
        help=f'Like [{GROUP}] default_spread, for this task.',
    ),
]

group_opts = [*backend_opts, *process_opts, *runner_opts, *default_opts]


def task_group(class_name: str, task_name: str) -> str:
    """Return the group of a task: ``periodic_task:<Class>.<task>``."""
    return f'{TASK_GROUP}{class_name}.{task_name}'


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """List the options for oslo-config-generator.

    :returns: pairs of a group's name (None for DEFAULT) and its options.
    """
    return [
        (None, copy.deepcopy(periodic_opts)),
        (GROUP, copy.deepcopy(group_opts)),
    ]


def register(conf: Any) -> None:
    """Register the options that a service's ``conf`` can take.

    :param conf: a ConfigOpts; or any object with ``register_opts(opts)``,
        which gets the options of the reference and no group of ours.
    """
    conf.register_opts(periodic_opts)
    if isinstance(conf, cfg.ConfigOpts):
        conf.register_opts(group_opts, group=GROUP)


def register_task(
    conf: cfg.ConfigOpts, class_name: str, task_name: str
) -> None:
    """Register the group of a task.

    It happens on its own where a configuration file or the environment has
    the group; code that sets an option of it, as a test does, calls this.

    :param class_name: the name of the class.
    :param task_name: the name of the task.
    """
    group = task_group(class_name, task_name)
    for option in task_opts:
        try:
            conf.register_opt(option, group=group)
        except cfg.DuplicateOptError:
            pass  # The service has registered it, with a default of its own.
