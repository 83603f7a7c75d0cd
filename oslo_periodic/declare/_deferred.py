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


"""Values that are read when an instance is made, and not at import.

The spacing of a task, and whether it is enabled, may be the name of an
option, as in ``'[group]option'``, or a callable of the configuration.
"""

from __future__ import annotations

import re
from typing import Any

from oslo_config import cfg

from oslo_periodic import exceptions

_OPTION = re.compile(r'\[([^\[\]]+)\]\s*([A-Za-z_][\w-]*)')


def is_late(value: Any) -> bool:
    """Say whether a value has to be looked up."""
    return isinstance(value, str) or callable(value)


def check(value: Any, argument: str, name: str) -> None:
    """See that a late value can be looked up at all.

    :param value: what :func:`is_late` said True of.
    :param argument: what it is for, for the error's text.
    :param name: the task's name, for the error's text.
    :raises InvalidPeriodicTaskArg: if a string names no option.
    """
    if isinstance(value, str) and not _OPTION.fullmatch(value):
        plain = 'finite number of seconds' if argument == 'spacing' else 'bool'
        raise exceptions.InvalidPeriodicTaskArg(
            f'The {argument} of the periodic task {name!r} must be a {plain}, '
            "the name of an option, as in '[group]option', or a callable of "
            f'the configuration, not {value!r}.'
        )


def resolve(value: Any, argument: str, name: str, conf: Any) -> Any:
    """Look a value up.

    :param value: what it was declared as.
    :param argument: what it is for, for the error's text.
    :param name: the task's name, for the error's text.
    :param conf: the service's configuration.
    :returns: the value itself, if there is nothing to look up.
    :raises InvalidPeriodicTaskArg: if it cannot be had.
    """
    if not is_late(value):
        return value
    try:
        if callable(value):
            return value(conf)
        check(value, argument, name)
        match = _OPTION.fullmatch(value)
        assert match is not None  # noqa: S101 # nosec B101
        group, option = match[1], match[2].replace('-', '_')
        if isinstance(conf, cfg.ConfigOpts):
            return conf[option] if group == 'DEFAULT' else conf[group][option]
        holder = conf if group == 'DEFAULT' else getattr(conf, group)
        return getattr(holder, option)
    except exceptions.InvalidPeriodicTaskArg:
        raise
    except Exception as exc:
        raise exceptions.InvalidPeriodicTaskArg(
            f'The {argument} of the periodic task {name!r} cannot be had from '
            f'{describe(value)}: {type(exc).__name__}: {exc}. See that the '
            'option is registered before the instance is made.'
        ) from exc


def describe(value: Any) -> str:
    """Say, for people, where a value comes from."""
    if isinstance(value, str):
        return value
    return str(getattr(value, '__qualname__', None) or repr(value))
