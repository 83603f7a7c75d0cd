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
import pathlib
from typing import TypeVar
import weakref

from oslo_config import cfg

from oslo_periodic import _log
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _names
from oslo_periodic import opts

LOG = _log.get_logger('oslo_periodic.periodic_task')

#: The least similarity of a class's name to a group's for a typo.
_CUTOFF = 0.8

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
    """Warn of groups that belong to no task, and of their unknown options.

    It is called when tasks are about to run for the first time: by then all
    instances have been made. Each mistake is logged once.

    :param conf: the configuration.
    """
    hook = _hooks.get(id(conf))
    if hook is None or not isinstance(conf, cfg.ConfigOpts):
        return
    sections = [
        section
        for section in conf.list_all_sections()
        if section.lower().startswith(opts.TASK_GROUP)
    ]
    if not sections:
        return
    tasks = [
        f'{follower.class_name}.{name}'
        for follower in list(hook.followers)
        if isinstance(follower, _task_set.TaskSet)
        for name in follower.task_names()
    ]
    # oslo.config ignores the case of groups' names.
    known = {task.lower() for task in tasks}
    contents = _sections(conf)
    for section in sections:
        name = section[len(opts.TASK_GROUP) :]
        if name.lower() not in known:
            if _first_time(hook, section):
                _report_group(section, name, tasks)
            continue
        for option in contents.get(section, ()):
            if _first_time(hook, section, option):
                _report_option(section, option)


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


def _report_option(section: str, option: str) -> None:
    known = [opt.dest for opt in opts.task_opts]
    if option.replace('-', '_') in known:
        return
    LOG.warning(
        'The configuration group [%(group)s] sets %(option)s, which is not '
        'an option of periodic tasks; did you mean %(near)s?',
        {
            'group': section,
            'option': option,
            'near': _names.nearest(option, known, 0.0),
        },
    )


def _sections(conf: cfg.ConfigOpts) -> dict[str, dict[str, list[str]]]:
    """Read what the files set, registered as an option or not."""
    paths = [pathlib.Path(path) for path in conf.config_file or ()]
    for directory in conf.config_dir or ():
        paths += sorted(pathlib.Path(directory).glob('*.conf'))
    sections: dict[str, dict[str, list[str]]] = {}
    for path in paths:
        try:
            cfg.ConfigParser(str(path), sections).parse()
        except (OSError, cfg.ParseError):
            pass  # oslo.config reports it when it parses the file itself.
    return sections
