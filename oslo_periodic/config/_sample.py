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

from oslo_config import cfg

from oslo_periodic.declare import _collection
from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _task
from oslo_periodic import opts


def list_opts(cls: type) -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the groups of the tasks of a class, and their options."""
    collection = _collection.of(cls)
    tasks = []
    for name, function in collection.entries:
        task = collection.describe(name, function)
        spacing = collection.spacing_of(task)
        tasks.append(task._replace(spacing=spacing))
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
    declared = {
        'spacing': task.spacing,
        'enabled': task.enabled,
        **task.policy._asdict(),
    }
    for option in options:
        value = declared[option.dest]
        if option.dest in ('spacing', 'enabled') and _deferred.is_deferred(
            value
        ):
            option.help = (
                f'{option.help} By default it is {_deferred.describe(value)}.'
            )
        elif value is not None:
            # The default stays unset, so that the decorator's value is used
            # until the group sets another.
            option.sample_default = value
    return options
