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


"""The groups of tasks in configuration files: changes and typos."""

from __future__ import annotations

from collections.abc import Callable
import logging
import re
from typing import TypeVar
import weakref

from oslo_config import cfg

from oslo_periodic import _log
from oslo_periodic.config import _files
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _names
from oslo_periodic import opts

LOG = _log.get_logger('oslo_periodic.periodic_task')

#: The least similarity of a class's name to a group's for a typo.
_CUTOFF = 0.8
#: The same for the kinds of groups, which have neighbours such as oslo_policy.
_CUTOFF_OF_GROUPS = 0.85
#: Characters by which the length of a mistyped name differs at most.
_MOST_EXTRA = 3
#: Unknown groups that are reported one by one: each is compared with tasks.
_MOST_REPORTED = 50

_Follower = TypeVar('_Follower')


class _Hook:
    """What oslo.config calls when files were reloaded."""

    def __init__(self) -> None:
        #: The function that applies a change, by the object it applies to.
        self.followers: weakref.WeakKeyDictionary[
            object, Callable[[object, object], None]
        ] = weakref.WeakKeyDictionary()
        #: The sections and options that were reported: once each.
        self.reported: set[tuple[str, str]] = set()

    def __call__(self, conf: cfg.ConfigOpts, fresh: object) -> None:
        for follower, reload in list(self.followers.items()):
            try:
                reload(follower, conf)
            except Exception:
                # The other followers must get the change all the same.
                LOG.exception(
                    'A change of the configuration could not be applied'
                )
        check_groups(conf)


#: By the id of the ConfigOpts, which keeps the hook alive.
_hooks: weakref.WeakValueDictionary[int, _Hook]
_hooks = weakref.WeakValueDictionary()


def follow(
    conf: object,
    follower: _Follower,
    reload: Callable[[_Follower, object], None],
) -> None:
    """Call a function after each ``mutate_config_files``.

    :param conf: a ConfigOpts; any other object never changes.
    :param follower: the first argument of the call; it is kept weakly.
    :param reload: called with the follower and the ConfigOpts.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return
    hook = _hooks.get(id(conf))
    if hook is None:
        hook = _hooks[id(conf)] = _Hook()
        conf.register_mutate_hook(hook)
    hook.followers[follower] = reload  # type: ignore[assignment]


def check_groups(conf: object) -> None:
    """Warn of groups and options that look like typos, once each.

    It is called when tasks are about to run for the first time: by then all
    instances have been made.

    :param conf: the configuration.
    """
    hook = _hooks.get(id(conf))
    if hook is None or not isinstance(conf, cfg.ConfigOpts):
        return
    names = conf.list_all_sections()
    suspects = [name for name in names if _OURS.match(name)]
    registered = {name.lower() for name in conf}
    for section in names:
        # Other libraries and the service have groups of their own.
        if not (_OURS.match(section) or section.lower() in registered):
            _check_name(hook, section)
    if not suspects:
        return
    tasks = [
        f'{follower.class_name}.{name}'
        for follower in list(hook.followers)
        if isinstance(follower, _task_set.TaskSet)
        for name in follower.task_names()
    ]
    contents = _files.sections(conf)
    _check_tasks(hook, suspects, tasks, contents)
    for option in contents.get(opts.GROUP, ()):
        known = [str(name) for name in conf[opts.GROUP]]
        _check_option(hook, opts.GROUP, option, known, 'oslo.periodic')


#: The names of the groups of oslo.periodic and of tasks.
_OURS = re.compile(
    f'{opts.GROUP}$|{re.escape(opts.TASK_GROUP)}', re.IGNORECASE
)


def _check_name(hook: _Hook, section: str) -> None:
    """Warn of a group whose name is nearly one of ours."""
    kind, separator, task = section.partition(':')
    right = opts.TASK_GROUP[:-1] if separator else opts.GROUP
    if abs(len(kind) - len(right)) > _MOST_EXTRA or kind == right:
        return  # A cheap test, as there may be many groups.
    if not _names.nearest(kind, [right], _CUTOFF_OF_GROUPS):
        return
    # Once for all tasks: there may be many.
    if _first_time(hook, f'{kind}{separator}'):
        LOG.warning(
            'The configuration has a group [%(group)s], which nothing reads; '
            'did you mean [%(near)s]?',
            {'group': section, 'near': f'{right}{separator}{task}'},
        )


def _check_tasks(
    hook: _Hook,
    sections: list[str],
    tasks: list[str],
    contents: dict[str, dict[str, list[str]]],
) -> None:
    # oslo.config ignores the case of groups' names.
    known = {task.lower() for task in tasks}
    options = [option.dest for option in opts.task_opts]
    unknown = []
    for section in sections:
        name = section[len(opts.TASK_GROUP) :]
        if section.lower() == opts.GROUP:
            continue
        if name.lower() not in known:
            if _first_time(hook, section):
                unknown.append((section, name))
            continue
        for option in contents.get(section, ()):
            _check_option(hook, section, option, options, 'periodic tasks')
    for section, name in unknown[:_MOST_REPORTED]:
        _report_group(section, name, tasks)
    if len(unknown) > _MOST_REPORTED:
        LOG.warning(
            'The configuration has %(count)d more groups of periodic tasks '
            'that this process does not have',
            {'count': len(unknown) - _MOST_REPORTED},
        )


def _first_time(hook: _Hook, section: str, option: str = '') -> bool:
    if (section, option) in hook.reported:
        return False
    hook.reported.add((section, option))
    return True


def _report_group(section: str, name: str, tasks: list[str]) -> None:
    class_name = name.partition('.')[0].lower()
    of_class = [t for t in tasks if t.partition('.')[0].lower() == class_name]
    if '.' not in name:
        # The name of the class may be missing.
        short = {task.partition('.')[2]: task for task in tasks}
        near = _names.nearest(name, short, _CUTOFF)
        near = short[near] if near else None
    elif of_class:
        near = _names.nearest(name, of_class, 0.0)
    else:
        # The file may be shared with other processes of the service, which
        # have such a class.
        near = _names.nearest(name, tasks, _CUTOFF)
    LOG.log(
        logging.WARNING if near else logging.INFO,
        'The configuration has a group [%(group)s], but this process has no '
        'periodic task of that name%(hint)s',
        {
            'group': section,
            'hint': f'; did you mean [{opts.TASK_GROUP}{near}]?'
            if near
            else '',
        },
    )


def _check_option(
    hook: _Hook, section: str, option: str, known: list[str], owner: str
) -> None:
    if option.replace('-', '_') in known:
        return
    if _first_time(hook, section, option):
        LOG.warning(
            'The configuration group [%(group)s] sets %(option)s, which is '
            'not an option of %(owner)s; did you mean %(near)s?',
            {
                'group': section,
                'option': option,
                'owner': owner,
                'near': _names.nearest(option, known, 0.0),
            },
        )
