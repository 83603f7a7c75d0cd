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


"""Read the options of the group of oslo.periodic."""

from __future__ import annotations

from typing import cast
from typing import NamedTuple
from typing import TypeVar

from oslo_config import cfg

from oslo_periodic import _log
from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic.config import _files
from oslo_periodic import exceptions
from oslo_periodic import opts

LOG = _log.get_logger('oslo_periodic.periodic_task')

_Value = TypeVar('_Value')


def value_of(conf: cfg.ConfigOpts, group: str, option: cfg.Opt) -> object:
    """Return the value of an option.

    :param conf: the configuration.
    :param group: the group of the option.
    :param option: the option; it is registered.
    :raises ValueError: naming the option, the place that sets it and the
        reason, if the value is invalid.
    """
    try:
        value: object = conf[group][option.dest]
    except (ValueError, cfg.Error, RecursionError) as exc:
        # oslo.config puts the repr of a location before the reason.
        _start, _text, reason = str(exc).partition('is not valid: ')
        raise ValueError(
            f'[{group}] {option.name} in '
            f'{_files.place_of(conf, group, option)}: {reason or exc}'
        ) from exc
    return value


def read(conf: object, option: cfg.Opt, last: _Value, what: str) -> _Value:
    """Read an option of our group that may have become invalid.

    :param conf: an object that :func:`opts.register` was called with; only a
        ConfigOpts has values.
    :param option: the option.
    :param last: the value that is kept if the configuration is invalid; that
        is logged.
    :param what: the user of the value, for the log.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return last
    try:
        value = cast(_Value, value_of(conf, opts.GROUP, option))
    except ValueError as exc:
        LOG.error(
            '%(what)s keeps using [%(group)s] %(option)s = %(value)s: '
            '%(error)s',
            {
                'what': what,
                'group': opts.GROUP,
                'option': option.name,
                'value': last,
                'error': exc,
            },
        )
        return last
    return value


class ProcessSettings(NamedTuple):
    """How tasks run in worker processes."""

    pool: base.PoolSettings
    #: Whether to look for attributes that a task changes in vain.
    watch_changes: bool


def process_settings(
    conf: object, timeout: float | None = None
) -> ProcessSettings:
    """Read how tasks run in worker processes.

    :param conf: an object that :func:`opts.register` was called with.
    :param timeout: seconds that a task may run, 0 for no limit; None means
        the value of the option.
    :raises ValueError: if ``timeout`` is negative.
    """
    values = {
        option.dest: read(conf, option, option.default, 'A tick')
        for option in opts.process_opts
    }
    if timeout is None:
        timeout = values['process_task_timeout']
    elif not timeout >= 0:
        raise ValueError(f'timeout must not be negative: {timeout}')
    return ProcessSettings(
        base.PoolSettings(
            task_timeout=timeout,
            idle_timeout=values['process_idle_timeout'],
            max_tasks=values['process_max_tasks'],
        ),
        values['warn_lost_changes'],
    )


class RunnerSettings(NamedTuple):
    """The options of a runner; see their help texts."""

    workers: int
    graceful_stop_timeout: float
    overdue_factor: float
    control_socket: str | None
    failing_after: int


def runner_settings(
    conf: object, last: RunnerSettings | None = None
) -> RunnerSettings:
    """Read the options of a runner.

    :param conf: an object that :func:`opts.register` was called with.
    :param last: the values read before, which are kept where the
        configuration has become invalid.
    :raises ValueError: if the configuration is invalid and there are no
        values read before.
    """
    if last is not None:
        return RunnerSettings(
            *(
                read(conf, option, getattr(last, option.dest), 'The runner')
                for option in opts.runner_opts
            )
        )
    if not isinstance(conf, cfg.ConfigOpts):
        return RunnerSettings(*(opt.default for opt in opts.runner_opts))
    return RunnerSettings._make(
        value_of(conf, opts.GROUP, option) for option in opts.runner_opts
    )


def backend_choice(conf: object) -> backends.Choice | None:
    """Read which backend the configuration chooses.

    :param conf: an object that :func:`opts.register` was called with.
    :returns: the choice; None if the configuration makes none.
    :raises BackendChoiceConflict: if the environment chooses another backend.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return None
    name, place = _configured(conf)
    if name == backends.AUTO:
        return None
    choice = backends.Choice(name, f'[{opts.GROUP}] backend in {place}')
    in_environment = backends.environment_choice()
    if in_environment and in_environment.name != name:
        raise exceptions.BackendChoiceConflict(
            'Two places choose different backends: '
            f'{in_environment.chosen_by} says {in_environment.name!r}, and '
            f'{choice.chosen_by} says {name!r}. Remove one of them, or make '
            'them agree.'
        )
    return choice


def _configured(conf: cfg.ConfigOpts) -> tuple[str, str]:
    """Return the configured name and its place; the environment is ignored."""
    name = conf[opts.GROUP].backend
    location = conf.get_location('backend', opts.GROUP)
    if location is None:
        return name, 'the configuration'
    if location.location is cfg.Locations.environment:
        # The environment hides the files, which may choose another backend.
        return _configured(_files_alone(conf))
    return name, location.detail or _PLACES[location.location.name]


#: Places in code that can set an option, by oslo.config's name for them.
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
