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

    def __call__(self, conf: Any, fresh: object) -> None:
        for listener in list(self.listeners):
            listener.reload(conf)


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


def check_groups(conf: Any, class_name: str, tasks: Iterable[str]) -> None:
    """Warn of groups that are for a class, and of options in them, with typos.

    :param conf: a ConfigOpts.
    :param class_name: the name of the class.
    :param tasks: the names of its tasks.
    """
    # Groups' names are not case-sensitive to oslo.config.
    known = {opts.task_group(class_name, task).lower(): task for task in tasks}
    prefix = opts.task_group(class_name, '').lower()
    mine = [
        section
        for section in conf.list_all_sections()
        if section.lower().startswith(prefix)
    ]
    for section in mine:
        if section.lower() not in known:
            near = _nearest(section[len(prefix) :], known.values(), 0.0)
            LOG.warning(
                'The configuration has the group [%(group)s], and %(class)s '
                'has no such periodic task; did you mean [%(near)s]?',
                {
                    'group': section,
                    'class': class_name,
                    'near': opts.task_group(class_name, near or '...'),
                },
            )
    if mine:
        _check_options(conf, set(known))


def _check_options(conf: Any, groups: set[str]) -> None:
    options = [opt.dest for opt in opts.task_opts]
    for section, keys in _sections(conf).items():
        if section.lower() not in groups:
            continue
        for key in keys:
            if key.replace('-', '_') not in options:
                LOG.warning(
                    'The group [%(group)s] of the configuration sets '
                    '%(option)s, which no periodic task has; did you mean '
                    '%(near)s?',
                    {
                        'group': section,
                        'option': key,
                        'near': _nearest(key, options, 0.0),
                    },
                )


def check_classes(conf: Any) -> None:
    """Tell of groups of classes that nobody has made an instance of.

    A file may be shared with other processes of the service, so it is a
    warning only where the name is nearly that of a class that there is.

    :param conf: the configuration.
    """
    hook = _hooks.get(id(conf))
    if hook is None or not isinstance(conf, cfg.ConfigOpts):
        return
    names = {
        f'{listener.owner.__name__}.{task}'
        for listener in list(hook.listeners)
        if hasattr(listener, 'owner')
        for task in listener.task_names()
    }
    classes = {name.partition('.')[0].lower() for name in names}
    for section in conf.list_all_sections():
        if not section.lower().startswith(opts.TASK_GROUP):
            continue
        name = section[len(opts.TASK_GROUP) :]
        if name.partition('.')[0].lower() in classes:
            continue
        near = _nearest(name, names, _ALIKE)
        LOG.log(
            logging.WARNING if near else logging.INFO,
            'The configuration has the group [%(group)s], and this process '
            'has no such periodic task%(hint)s',
            {
                'group': section,
                'hint': f'; did you mean [{opts.TASK_GROUP}{near}]?'
                if near
                else '',
            },
        )


def _nearest(name: str, known: Iterable[str], alike: float) -> str | None:
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
