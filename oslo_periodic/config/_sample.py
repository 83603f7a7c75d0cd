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


"""The options of a class's tasks, for oslo-config-generator."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from oslo_config import cfg

from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _task
from oslo_periodic import opts


def list_opts(cls: Any) -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the groups of the tasks of a class, and their options."""
    collection = cls._periodic_collection
    tasks = [
        collection.describe(name, function)._replace(
            spacing=collection.spacing.get(name)
        )
        for name, function in collection.listed
    ]
    return [
        (_group(cls, task), _options(task))
        for task in [*tasks, *collection.disabled(cls)]
    ]


def _group(cls: type, task: _task.Task) -> cfg.OptGroup:
    name = opts.task_group(cls.__name__, task.name)
    summary = (inspect.getdoc(task.function) or '').partition('\n')[0]
    return cfg.OptGroup(
        name,
        title=f'The periodic task {task.name} of {cls.__qualname__}',
        help=summary or None,
    )


def _options(task: _task.Task) -> list[cfg.Opt]:
    options = copy.deepcopy(opts.task_opts)
    said = {
        'spacing': task.spacing,
        'enabled': task.enabled,
        **task.policy._asdict(),
    }
    for option in options:
        value = said[option.dest]
        if _deferred.is_late(value) and option.dest in ('spacing', 'enabled'):
            option.help = (
                f'{option.help} By default it is {_deferred.describe(value)}.'
            )
        elif value is not None:
            # It is not the default: that stays unset, so that the decorator
            # goes on having its say.
            option.sample_default = value
    return options
