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

"""What the options of our group say, once they are registered."""

from __future__ import annotations

import logging
from typing import Any
from typing import NamedTuple

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import opts

LOG = logging.getLogger('oslo_periodic.periodic_task')


def read(conf: Any, option: cfg.Opt, last: Any, what: str) -> Any:
    """Read an option of our group that may have been changed to nonsense.

    :param conf: an object that :func:`opts.register` was called with; what is
        no ConfigOpts says nothing.
    :param option: the option.
    :param last: what holds, if what the configuration says is wrong; that is
        logged then.
    :param what: who keeps to that, for the log.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return last
    try:
        return conf[opts.GROUP][option.dest]
    except (ValueError, cfg.Error, RecursionError) as exc:
        LOG.error(
            '%(what)s keeps to [%(group)s] %(option)s = %(value)s: %(error)s',
            {
                'what': what,
                'group': opts.GROUP,
                'option': option.name,
                'value': last,
                'error': exc,
            },
        )
        return last


#: The fields of the pool's settings, by option.
_PROCESS_FIELDS = {
    'process_task_timeout': 'task_timeout',
    'process_idle_timeout': 'idle_timeout',
    'process_max_tasks': 'max_tasks',
    'warn_lost_changes': 'watch_changes',
}


def process_settings(conf: Any, timeout: float | None) -> dict[str, Any]:
    """Read how a parallel tick treats its tasks and workers.

    :param conf: an object that :func:`opts.register` was called with.
    :param timeout: seconds that a task may run, if not the option's.
    :returns: the fields of the pool's settings.
    :raises ValueError: if ``timeout`` is negative.
    """
    settings = {
        _PROCESS_FIELDS[option.dest]: read(
            conf, option, option.default, 'A tick'
        )
        for option in opts.process_opts
    }
    if timeout is not None:
        if not timeout >= 0:
            raise ValueError(f'timeout must not be negative: {timeout}')
        settings['task_timeout'] = timeout
    return settings


class RunnerSettings(NamedTuple):
    """What a runner reads of its group; see the options."""

    workers: int
    graceful_stop_timeout: float
    overdue_factor: float
    control_socket: str | None


def runner_settings(
    conf: Any, last: RunnerSettings | None = None
) -> RunnerSettings:
    """Read how a runner runs.

    :param conf: an object that :func:`opts.register` was called with.
    :param last: what was read before, which holds where the configuration
        is wrong by now.
    :raises ValueError: if it is wrong, and nothing was read before.
    """
    if last is None:
        if not isinstance(conf, cfg.ConfigOpts):
            return RunnerSettings(*(opt.default for opt in opts.runner_opts))
        return RunnerSettings(
            *(conf[opts.GROUP][o.dest] for o in opts.runner_opts)
        )
    return RunnerSettings(
        *(
            read(conf, option, getattr(last, option.dest), 'The runner')
            for option in opts.runner_opts
        )
    )


def backend_choice(conf: object) -> backends.Choice | None:
    """Read which backend the configuration chooses.

    :param conf: an object that :func:`opts.register` was called with.
    :returns: the choice, or None where it is left to the process.
    :raises BackendChoiceConflict: if the environment names another one.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return None
    name, place = _configured(conf)
    if name == backends.AUTO:
        return None
    choice = backends.Choice(name, f'[{opts.GROUP}] backend in {place}')
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
    name = conf[opts.GROUP].backend
    location = conf.get_location('backend', opts.GROUP)
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
    files.register_opts(opts.backend_opts, group=opts.GROUP)
    return files
