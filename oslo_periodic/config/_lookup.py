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


"""Look up deferred values in the configuration."""

from __future__ import annotations

from oslo_config import cfg

from oslo_periodic.declare import _deferred
from oslo_periodic import exceptions


def resolve(value: object, argument: str, name: str, conf: object) -> object:
    """Look up a value if it is deferred.

    :param value: the value as declared.
    :param argument: the argument it was passed as, for the error.
    :param name: the task's name, for the error.
    :param conf: the service's configuration.
    :returns: the value itself if it is not deferred.
    :raises InvalidPeriodicTaskArg: if the look-up fails.
    """
    if not _deferred.is_deferred(value):
        return value
    _deferred.check(value, argument, name)
    try:
        return _look_up(value, conf)
    except exceptions.InvalidPeriodicTaskArg:
        raise
    except Exception as exc:
        raise exceptions.InvalidPeriodicTaskArg(
            f'The {argument} of the periodic task {name!r} cannot be read '
            f'from {_deferred.describe(value)}: {type(exc).__name__}: {exc}. '
            'Is the option registered before the instance is made?'
        ) from exc


def _look_up(value: _deferred.Deferred, conf: object) -> object:
    if not isinstance(value, str):
        return value(conf)
    named = _deferred.option(value)
    assert named is not None  # noqa: S101 # nosec B101
    group, option = named
    if isinstance(conf, cfg.ConfigOpts):
        found: object = (
            conf[option] if group == 'DEFAULT' else conf[group][option]
        )
        return found
    holder = conf if group == 'DEFAULT' else getattr(conf, group)
    found = getattr(holder, option)
    return found
