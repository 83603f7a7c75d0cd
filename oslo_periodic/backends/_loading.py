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

"""Find the installed backends and load one by its name."""

from __future__ import annotations

import importlib.metadata
from typing import NoReturn
from typing import TYPE_CHECKING

from stevedore import driver
from stevedore import named

from oslo_periodic import exceptions

if TYPE_CHECKING:
    from oslo_periodic.backends import base

#: The entry-point group in which a distribution names its backends.
GROUP = 'oslo.periodic.backends'


def names() -> list[str]:
    """Return the names of the installed backends, loading none of them."""
    return sorted({point.name for point in _entry_points()})


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    manager: named.NamedExtensionManager[base.Backend]
    manager = named.NamedExtensionManager(
        GROUP, names=[], on_missing_entrypoints_callback=None
    )
    return manager.list_entry_points()


def providers(name: str) -> list[importlib.metadata.Distribution]:
    """Return the distributions that provide a backend of this name."""
    points = importlib.metadata.entry_points(group=GROUP, name=name)
    found = {point.dist.name: point.dist for point in points if point.dist}
    return [found[dist] for dist in sorted(found)]


def check_name(name: str, chosen_by: str) -> None:
    """Check that exactly one distribution provides the backend.

    :param name: the backend's name.
    :param chosen_by: what chose it, for the text of an error.
    :raises UnknownBackend: if none does.
    :raises BackendNameConflict: if several do.
    """
    points = [point for point in _entry_points() if point.name == name]
    if not points:
        raise exceptions.UnknownBackend(
            f'There is no backend {name!r}, which was chosen by {chosen_by}. '
            f'The installed ones are {", ".join(names()) or "none"}; '
            f'a backend is added by an entry point of the group {GROUP}.'
        )
    if len(points) > 1:
        claims = ' and '.join(
            f'{dist.name} {dist.version}' for dist in providers(name)
        ) or ' and '.join(point.value for point in points)
        raise exceptions.BackendNameConflict(
            f'The backend name {name!r} is claimed by {claims}: '
            'uninstall all but one of them.'
        )


def load(name: str, chosen_by: str) -> base.Backend:
    """Load a backend by its name.

    :param name: the backend's name.
    :param chosen_by: what chose it, for the text of an error.
    :returns: a new instance.
    :raises UnknownBackend: if there is no such backend.
    :raises BackendNameConflict: if several distributions claim the name.
    :raises BackendDependencyMissing: if a package that it imports is missing.
    :raises BackendLoadError: if it fails otherwise, or is not a Backend.
    """
    # Not at import: a process that only reads the options loads no backend.
    from oslo_periodic.backends import base

    check_name(name, chosen_by)
    manager: driver.DriverManager[base.Backend]
    try:
        manager = driver.DriverManager(
            GROUP,
            name,
            invoke_on_load=True,
            on_load_failure_callback=_translate_load_failure,
        )
    except (AssertionError, SystemExit) as exc:
        # stevedore re-raises these without calling the callback.
        raise exceptions.BackendLoadError(
            f'The backend {name!r} failed to load: {type(exc).__name__}: {exc}'
        ) from exc
    backend = manager.driver
    if not isinstance(backend, base.Backend):
        raise exceptions.BackendLoadError(
            f'The entry point of the backend {name!r} gives '
            f'{backend!r}, which is not an oslo_periodic.backends.base.Backend'
        )
    return backend


def _translate_load_failure(
    manager: object,
    point: importlib.metadata.EntryPoint,
    exc: BaseException,
) -> NoReturn:
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        missing = exc.name.partition('.')[0]
        if missing != point.module.partition('.')[0]:
            raise exceptions.BackendDependencyMissing(
                f'The backend {point.name!r} needs the package {missing!r}, '
                f'which is not installed: pip install '
                f'{_what_to_install(point.name, missing)}'
            ) from exc
    raise exceptions.BackendLoadError(
        f'The backend {point.name!r} ({point.value}) failed to load: '
        f'{type(exc).__name__}: {exc}'
    ) from exc


def _what_to_install(name: str, missing: str) -> str:
    for dist in providers(name):
        if name in (dist.metadata.get_all('Provides-Extra') or ()):
            return f"'{dist.name}[{name}]'"
    return missing
