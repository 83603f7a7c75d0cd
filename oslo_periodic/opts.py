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
from typing import Any

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic import exceptions

GROUP = 'oslo_periodic'

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
    cfg.FloatOpt(
        'process_idle_timeout',
        default=300.0,
        min=0,
        help='Seconds after which a worker process that has nothing to do '
        'ends. It applies to run_periodic_tasks_in_parallel, as do the other '
        'process options; all are read at each of its ticks.',
    ),
    cfg.IntOpt(
        'process_max_tasks',
        default=0,
        min=0,
        help='Number of tasks after which a worker process is replaced by a '
        'fresh one; 0 keeps it as long as it is needed. 1 runs every task in '
        'a fresh process, which costs its start (some 0.3 seconds of CPU for '
        'a small service, several for a large one).',
    ),
    cfg.FloatOpt(
        'process_task_timeout',
        default=0.0,
        min=0,
        help='Seconds that a task may run in a worker process. After that '
        'it is ended, and has failed; its stack is logged. 0 sets no limit.',
    ),
    cfg.BoolOpt(
        'warn_lost_changes',
        default=True,
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
        help='Number of periodic tasks that a PeriodicRunner runs at a time. '
        'It is read when the runner is started. Tasks that are due while all '
        'workers are busy wait for one in the order in which they are due.',
    ),
    cfg.FloatOpt(
        'graceful_stop_timeout',
        default=60.0,
        min=0,
        help='Seconds that a PeriodicRunner which is stopped waits for the '
        'tasks that are running.',
    ),
]

#: All that is in the group of oslo.periodic.
group_opts = [*backend_opts, *process_opts, *runner_opts]


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


def backend_choice(conf: Any) -> backends.Choice | None:
    """Read which backend the configuration chooses.

    :param conf: an object that :func:`register` was called with.
    :returns: the choice, or None where it is left to the process.
    :raises BackendChoiceConflict: if the environment names another one.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return None
    name, place = _configured(conf)
    if name == backends.AUTO:
        return None
    choice = backends.Choice(name, f'[{GROUP}] backend in {place}')
    spoken = backends.environment_choice()
    if spoken and spoken.name != name:
        raise exceptions.BackendChoiceConflict(
            f'Two places choose different backends: {spoken.chosen_by} says '
            f'{spoken.name!r}, and {choice.chosen_by} says {name!r}. Remove '
            'one of them, or make them agree.'
        )
    return choice


def _configured(conf: cfg.ConfigOpts) -> tuple[str, str]:
    """Return what was said, and where, the environment left aside."""
    name = conf[GROUP].backend
    location = conf.get_location('backend', GROUP)
    if location is None:
        return name, 'the configuration'
    if location.location is cfg.Locations.environment:
        # It hides what the files say, and they may say something else.
        return _configured(_files_alone(conf))
    return name, location.detail or _PLACES[location.location.name]


#: What oslo.config calls a place in code, in words.
_PLACES = {
    'opt_default': 'its default',
    'set_default': 'a default that the service sets',
    'set_override': 'an override by code or the command line',
    'user': 'a configuration file',
    'command_line': 'the command line',
}


def _files_alone(conf: cfg.ConfigOpts) -> cfg.ConfigOpts:
    files = cfg.ConfigOpts()
    files(
        [],
        default_config_files=list(getattr(conf, 'config_file', None) or ()),
        default_config_dirs=list(getattr(conf, 'config_dir', None) or ()),
        use_env=False,
    )
    files.register_opts(backend_opts, group=GROUP)
    return files


def process_settings(conf: Any, timeout: float | None) -> dict[str, Any]:
    """Read how a parallel tick treats its tasks and workers.

    :param conf: an object that :func:`register` was called with.
    :param timeout: seconds that a task may run, if not the option's.
    :returns: the fields of the pool's settings that are not the default.
    :raises ValueError: if ``timeout`` is negative.
    """
    settings: dict[str, Any] = {}
    if isinstance(conf, cfg.ConfigOpts):
        group = conf[GROUP]
        settings = {
            'task_timeout': group.process_task_timeout,
            'idle_timeout': group.process_idle_timeout,
            'max_tasks': group.process_max_tasks,
            'watch_changes': group.warn_lost_changes,
        }
    if timeout is not None:
        if not timeout >= 0:
            raise ValueError(f'timeout must not be negative: {timeout}')
        settings['task_timeout'] = timeout
    return settings


def runner_settings(conf: Any) -> tuple[int, float]:
    """Read the number of workers, and the seconds for a graceful stop."""
    if isinstance(conf, cfg.ConfigOpts):
        group = conf[GROUP]
        return group.workers, group.graceful_stop_timeout
    values = {opt.dest: opt.default for opt in runner_opts}
    return values['workers'], values['graceful_stop_timeout']
