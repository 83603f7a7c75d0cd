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


# To the letter the option of oslo.service: a process that loads both
# libraries would die of DuplicateOptError otherwise.
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
        help='The concurrency library that periodic tasks run on: "threading" '
        'for native threads, "eventlet" for green threads, or the name of '
        'another installed backend (the command "oslo-periodic backends" '
        'lists them). "auto" follows oslo.service where the service has '
        'chosen a backend there, takes eventlet where it has monkey-patched '
        'threads, and threading everywhere else. It is read when the service '
        'makes its first PeriodicTasks, and cannot change after the first '
        'periodic tasks ran.',
    )
]

process_opts: list[cfg.Opt] = [
    cfg.Opt(
        'process_idle_timeout',
        type=Seconds(min=0),
        default=300.0,
        mutable=True,
        help='Seconds after which a worker process that has nothing to do '
        'ends. It applies to run_periodic_tasks_in_parallel, as do the other '
        'process options; all are read at each of its ticks.',
    ),
    cfg.IntOpt(
        'process_max_tasks',
        default=0,
        min=0,
        mutable=True,
        help='Number of tasks after which a worker process is replaced by a '
        'fresh one; 0 keeps it as long as it is needed. 1 runs every task in '
        'a fresh process, which costs its start (some 0.3 seconds of CPU for '
        'a small service, several for a large one).',
    ),
    cfg.Opt(
        'process_task_timeout',
        type=Seconds(min=0),
        default=0.0,
        mutable=True,
        help='Seconds that a task may run in a worker process. After that '
        'it is ended, and has failed; its stack is logged. 0 sets no limit.',
    ),
    cfg.BoolOpt(
        'warn_lost_changes',
        default=True,
        mutable=True,
        help='Warn, once for each task, when a task in a worker process '
        'changes attributes of its instance: it works on a copy, and the '
        'changes are lost.',
    ),
]

runner_opts: list[cfg.Opt] = [
    cfg.IntOpt(
        'workers',
        default=8,
        min=1,
        mutable=True,
        help='Number of periodic tasks that a PeriodicRunner runs at a time. '
        'Tasks that are due while all workers are busy wait for one in the '
        'order in which they are due.',
    ),
    cfg.Opt(
        'graceful_stop_timeout',
        type=Seconds(min=0),
        default=60.0,
        mutable=True,
        help='Seconds that a PeriodicRunner which is stopped waits for the '
        'tasks that are running. What still runs then is named in the log, '
        'and ended as far as the backend can.',
    ),
    cfg.Opt(
        'overdue_factor',
        type=Seconds(min=0),
        default=3.0,
        mutable=True,
        help='Number of spacings after which a task that is late makes a '
        'PeriodicRunner unhealthy: a warning says why it is late, and '
        '"oslo-periodic ctl health" fails. 0 turns it off.',
    ),
    cfg.StrOpt(
        'control_socket',
        help='The Unix socket on which a PeriodicRunner listens to '
        '"oslo-periodic ctl", as an absolute path; not set, it does not '
        'listen. Only the user of the process and root may use it. Each '
        'process needs a path of its own: {pid} in it stands for the process '
        'ID. It is read when the runner is started.',
    ),
]

#: What holds for the tasks that nobody says anything else about.
default_opts: list[cfg.Opt] = [
    cfg.StrOpt(
        'default_overlap',
        default=str(_policy.DEFAULT.overlap),
        choices=_values(status.Overlap),
        mutable=True,
        help='The overlap of tasks that say nothing else: what becomes of a '
        'run that is due while the task still runs. "skip" skips it; "queue" '
        'starts one when the task has ended.',
    ),
    cfg.StrOpt(
        'default_missed',
        default=str(_policy.DEFAULT.missed),
        choices=_values(status.Missed),
        mutable=True,
        help='The missed policy of tasks that say nothing else: what becomes '
        'of runs that were missed, because the task ran for too long or was '
        'paused. "coalesce" leaves them to the next run that is due; '
        '"run_once" runs the task once at once.',
    ),
    cfg.Opt(
        'default_timeout',
        type=Seconds(min=0),
        default=_policy.DEFAULT.timeout,
        mutable=True,
        help='The timeout of tasks that say nothing else: seconds that a run '
        'of a PeriodicRunner may take. A run that is longer is logged with '
        'its stack, and ended where that can be done: green threads and '
        'processes are killed, a native thread is only asked to end. 0 sets '
        'no limit.',
    ),
    cfg.StrOpt(
        'default_isolation',
        default=str(_policy.DEFAULT.isolation),
        choices=_values(status.Isolation),
        mutable=True,
        help='The isolation of tasks that say nothing else: whether a '
        'PeriodicRunner runs them in a "thread" of this process or in a '
        '"process" of the spawn pool, where the instance is a copy and its '
        'changes are lost. Not every backend has processes.',
    ),
    cfg.BoolOpt(
        'default_spread',
        default=_policy.DEFAULT.spread,
        mutable=True,
        help='The spread of tasks that say nothing else: whether the first '
        'run of a task comes after a part of its spacing that depends on the '
        'host and the task, so that services that start together do not all '
        'work together.',
    ),
]

#: What the group of each task has, as in [periodic_task:Manager.sync]. None
#: leaves a matter to the decorator. They are shared by all groups.
task_opts: list[cfg.Opt] = [
    cfg.Opt(
        'spacing',
        type=Seconds(),
        mutable=True,
        help='Seconds from one run of the task to the next. 0 means 60, and '
        'a negative number disables the task.',
    ),
    cfg.BoolOpt('enabled', mutable=True, help='Whether the task runs at all.'),
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
            help=f'As [{GROUP}] default_{name}, for this task.',
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
        help=f'As [{GROUP}] default_spread, for this task.',
    ),
]

#: All that is in the group of oslo.periodic.
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
    the group; code that sets an option of it, as a test does, calls this
    first.

    :param conf: the configuration.
    :param class_name: the name of the class.
    :param task_name: the name of the task.
    """
    group = task_group(class_name, task_name)
    for option in task_opts:
        try:
            conf.register_opt(option, group=group)
        except cfg.DuplicateOptError:
            pass  # The service has registered it, with a default of its own.
