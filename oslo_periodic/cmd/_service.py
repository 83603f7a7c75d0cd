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
import sys
import traceback
import types

from oslo_config import cfg

from oslo_periodic.cmd import errors
from oslo_periodic import exceptions


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
            f'Module {name!r} needs {exc.name!r}, which is not installed'
        ) from exc
    except Exception as exc:
        raise errors.UserError(
            f'Module {name!r} cannot be imported: {errors.one_line(exc)}'
        ) from exc


def configure(files: list[str]) -> cfg.ConfigOpts:
    """Read configuration files.

    :raises UserError: if a file is missing or cannot be parsed.
    """
    conf = cfg.ConfigOpts()
    try:
        conf([], project='oslo-periodic', default_config_files=files)
    except cfg.Error as exc:
        raise errors.UserError(errors.one_line(exc)) from exc
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
        frame = traceback.extract_tb(exc.__traceback__)[-1]
        raise errors.UserError(
            f'{cls.__qualname__}(conf) failed: {errors.one_line(exc)} '
            f'({frame.filename}:{frame.lineno})'
        ) from exc
    return instance
