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

"""Find the class that the user names, and configure it."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

from oslo_config import cfg

from oslo_periodic.cmd import errors
from oslo_periodic import exceptions


def find_class(target: str) -> type:
    """Import the class that ``MODULE:CLASS`` names.

    The current directory counts, as it does for ``python -m``.

    :raises UserError: naming what is wrong with it.
    """
    module, colon, name = target.partition(':')
    if not (module and colon and name):
        raise errors.UserError(
            f'{target!r} is not of the form MODULE:CLASS, as in '
            'nova.compute.manager:ComputeManager'
        )
    if '' not in sys.path:
        sys.path.insert(0, '')
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name and f'{module}.'.startswith(f'{exc.name}.'):
            raise errors.UserError(f'There is no module {exc.name!r}') from exc
        raise errors.UserError(
            f'Module {module!r} needs {exc.name!r}, which is not installed'
        ) from exc
    except Exception as exc:
        raise errors.UserError(
            f'Module {module!r} cannot be imported: {errors.one_line(exc)}'
        ) from exc
    for part in name.split('.'):
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            raise errors.UserError(
                f'Module {module!r} has no {name!r}'
            ) from exc
    if not isinstance(found, type):
        raise errors.UserError(f'{target} is {found!r}, not a class')
    return found


def configure(files: list[str]) -> cfg.ConfigOpts:
    """Read the configuration files.

    :raises UserError: if one is missing or wrong.
    """
    conf = cfg.ConfigOpts()
    try:
        conf([], project='oslo-periodic', default_config_files=files)
    except cfg.Error as exc:
        raise errors.UserError(errors.one_line(exc)) from exc
    return conf


def construct(cls: Any, conf: cfg.ConfigOpts) -> Any:
    """Make an instance of the service's class.

    :raises UserError: if it does not take ``conf`` alone, or fails.
    """
    try:
        return cls(conf)
    except exceptions.PeriodicError as exc:
        raise errors.UserError(str(exc)) from exc
    except Exception as exc:
        where = traceback.extract_tb(exc.__traceback__)[-1]
        raise errors.UserError(
            f'{cls.__qualname__}(conf) failed: {errors.one_line(exc)} '
            f'({where.filename}:{where.lineno})'
        ) from exc
