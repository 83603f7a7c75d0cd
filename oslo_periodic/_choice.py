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


"""Which backend the configuration chooses."""

from __future__ import annotations

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import opts


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
