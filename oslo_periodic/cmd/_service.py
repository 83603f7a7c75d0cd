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

"""Import, configure and instantiate the class that the user names."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
import types

from oslo_config import cfg

from oslo_periodic.cmd import errors
from oslo_periodic import exceptions

LOG = logging.getLogger('oslo_periodic.cmd.run')


def find_class(target: str) -> type:
    """Import the class that ``MODULE:CLASS`` names.

    As with ``python -m``, the current directory is on the import path.

    :raises UserError: if there is no such class, or the import fails.
    """
    module_name, colon, class_name = target.partition(':')
    if not (module_name and colon and class_name):
        raise errors.UserError(
            f'{target!r} is not of the form MODULE:CLASS, as in '
            'nova.compute.manager:ComputeManager'
        )
    if '/' in module_name or module_name.endswith('.py'):
        name = module_name.removesuffix('.py').removeprefix('./')
        dotted = name.strip('/').replace('/', '.')
        raise errors.UserError(
            f'{target!r} names a file, not a module: use '
            f'{dotted}:{class_name}, relative to the current directory'
        )
    if '' not in sys.path:
        sys.path.insert(0, '')
    found: object = _import(module_name)
    # CLASS may be nested, as in Outer.Inner.
    for part in class_name.split('.'):
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            raise errors.UserError(
                f'Module {module_name!r} has no class {class_name!r}'
            ) from exc
    if not isinstance(found, type):
        raise errors.UserError(f'{target} is {found!r}, not a class')
    return found


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and f'{name}.'.startswith(f'{exc.name}.'):
            raise errors.UserError(f'There is no module {exc.name!r}') from exc
        raise errors.UserError(
            f'Module {name!r} needs {exc.name!r}, which is not installed '
            f'({_place(exc)})'
        ) from exc
    except (Exception, SystemExit) as exc:
        raise errors.UserError(
            f'Module {name!r} cannot be imported: {errors.one_line(exc)} '
            f'({_place(exc)})'
        ) from exc


def _place(exc: BaseException) -> str:
    """Return the file and the line at which a module failed."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f'{exc.filename}:{exc.lineno}'
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if not frame.filename.startswith('<frozen importlib')
    ]
    return f'{frames[-1].filename}:{frames[-1].lineno}'


def configure(
    files: list[str],
    directories: list[str] | None = None,
    conf: cfg.ConfigOpts | None = None,
) -> cfg.ConfigOpts:
    """Read configuration files.

    :param files: their paths.
    :param directories: directories of further files; None: the default ones.
    :param conf: the object that reads them; None: a new one.
    :raises UserError: if a file is missing or cannot be parsed.
    """
    conf = cfg.ConfigOpts() if conf is None else conf
    try:
        conf(
            [],
            project='oslo-periodic',
            default_config_files=files,
            default_config_dirs=directories or None,
        )
    except cfg.Error as exc:
        raise errors.UserError(errors.one_line(exc)) from exc
    return conf


def global_conf() -> cfg.ConfigOpts:
    """Return the ConfigOpts that modules of a service register options on.

    A module that has parsed it at its import has set values that this command
    replaces, which is logged.
    """
    conf: cfg.ConfigOpts = cfg.CONF
    if getattr(conf, '_namespace', None) is not None:
        LOG.warning(
            'The module has parsed oslo_config.cfg.CONF when it was '
            'imported; its configuration files are replaced by those of '
            'this command'
        )
        conf.clear()
    return conf


def construct(cls: type, conf: cfg.ConfigOpts) -> object:
    """Make an instance of the service's class, with ``conf`` alone.

    :raises UserError: if the constructor raises an exception.
    """
    try:
        instance: object = cls(conf)
    except exceptions.PeriodicError as exc:
        raise errors.UserError(str(exc)) from exc
    except Exception as exc:
        raise errors.UserError(
            f'{cls.__qualname__}(conf) failed: {errors.one_line(exc)} '
            f'({_place(exc)})'
        ) from exc
    return instance
