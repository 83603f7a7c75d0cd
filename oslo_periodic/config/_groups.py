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


"""The groups of tasks in the configuration files: typos and changes."""

from __future__ import annotations

from collections.abc import Iterable
import logging
import pathlib
from typing import Any
from typing import Protocol
import weakref

from oslo_config import cfg

from oslo_periodic import opts

LOG = logging.getLogger('oslo_periodic.periodic_task')

#: How alike a class's name and that of a group have to be for a typo.
_ALIKE = 0.8


class Listener(Protocol):
    """Who wants to know when a configuration has changed."""

    def reload(self, conf: Any) -> None:
        """Read the options anew."""


class _Hook:
    """What oslo.config calls when files were mutated."""

    def __init__(self) -> None:
        self.listeners: weakref.WeakSet[Any] = weakref.WeakSet()
        #: What was told, so that it is told once.
        self.told: set[tuple[str, str]] = set()

    def __call__(self, conf: Any, fresh: object) -> None:
        for listener in list(self.listeners):
            try:
                listener.reload(conf)
            except Exception:
                # The others have to hear of it all the same.
                LOG.exception('A change of the configuration is not followed')
        check_groups(conf)


#: By the id of the ConfigOpts that keeps it.
_hooks: weakref.WeakValueDictionary[int, _Hook]
_hooks = weakref.WeakValueDictionary()


def follow(conf: Any, listener: Listener) -> None:
    """Have a listener reload after each ``mutate_config_files``.

    :param conf: a ConfigOpts; anything else never changes.
    :param listener: who is told, as long as somebody else keeps it.
    """
    if not isinstance(conf, cfg.ConfigOpts):
        return
    hook = _hooks.get(id(conf))
    if hook is None:
        hook = _hooks[id(conf)] = _Hook()
        conf.register_mutate_hook(hook)
    hook.listeners.add(listener)


def check_groups(conf: Any) -> None:
    """Warn of groups that are for no task, and of unknown options in others.

    It is done when the tasks are about to run for the first time, as all
    instances have been made by then. Each mistake is told once.

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
        f'{listener.owner.__name__}.{name}'
        for listener in list(hook.listeners)
        if hasattr(listener, 'owner')
        for name in listener.task_names()
    ]
    # Groups' names are not case-sensitive to oslo.config.
    known = {task.lower() for task in tasks}
    said = _sections(conf)
    for section in sections:
        name = section[len(opts.TASK_GROUP) :]
        if name.lower() not in known:
            if (section, '') not in hook.told:
                hook.told.add((section, ''))
                _tell_of_group(section, name, tasks)
            continue
        for option in said.get(section, ()):
            if (section, option) not in hook.told:
                hook.told.add((section, option))
                _tell_of_option(section, option)


def _tell_of_group(section: str, name: str, tasks: list[str]) -> None:
    class_name = name.partition('.')[0].lower()
    mine = [t for t in tasks if t.partition('.')[0].lower() == class_name]
    if '.' not in name:
        # The class was forgotten.
        short = {task.partition('.')[2]: task for task in tasks}
        near = nearest(name, short, _ALIKE)
        near = short[near] if near else None
    elif mine:
        near = nearest(name, mine, 0.0)
    else:
        # The file may be shared with other processes of the service, which
        # have such a class.
        near = nearest(name, tasks, _ALIKE)
    LOG.log(
        logging.WARNING if near else logging.INFO,
        'The configuration has the group [%(group)s], and this process has '
        'no such periodic task%(hint)s',
        {
            'group': section,
            'hint': f'; did you mean [{opts.TASK_GROUP}{near}]?'
            if near
            else '',
        },
    )


def _tell_of_option(section: str, option: str) -> None:
    options = [opt.dest for opt in opts.task_opts]
    if option.replace('-', '_') in options:
        return
    LOG.warning(
        'The group [%(group)s] of the configuration sets %(option)s, which '
        'no periodic task has; did you mean %(near)s?',
        {
            'group': section,
            'option': option,
            'near': nearest(option, options, 0.0),
        },
    )


def nearest(name: str, known: Iterable[str], alike: float) -> str | None:
    """Return what a mistyped name is most like.

    :param name: what was typed.
    :param known: the names that there are.
    :param alike: from 0, anything will do, to 1, nothing but the name.
    """
    # Here, as hardly anybody needs it, and importing it takes its time.
    import difflib

    found = difflib.get_close_matches(name, sorted(known), 1, alike)
    return found[0] if found else None


def _sections(conf: Any) -> dict[str, dict[str, Any]]:
    """Read what the files say, also where no option is registered for it."""
    paths = [pathlib.Path(path) for path in conf.config_file or ()]
    for directory in conf.config_dir or ():
        paths += sorted(pathlib.Path(directory).glob('*.conf'))
    sections: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            cfg.ConfigParser(str(path), sections).parse()
        except (OSError, cfg.ParseError):
            pass  # Whoever has read it with success has told of it.
    return sections
