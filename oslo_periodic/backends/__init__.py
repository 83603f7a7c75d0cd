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

"""Which backend this process uses, and how it gets loaded.

A name is chosen when this module is imported. The first that speaks wins:

1. the environment: ``OS_OSLO_PERIODIC__BACKEND``, which is how oslo.config
   spells ``[oslo_periodic] backend``;
2. an initialised :mod:`oslo_service.backend`, which is followed;
3. eventlet, where it has monkey-patched threads;
4. ``threading``.

Until the backend is first used, :func:`init_backend` or the configuration of
a :class:`~oslo_periodic.periodic_task.PeriodicTasks` may replace the choice;
and one that nobody asked for (2 to 4) is looked at again at first use. After
that it is final. The plugin itself is loaded when it is first needed, not at
import: it may be importing this package at that very moment.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import enum
import importlib.metadata
import logging
import os
import sys
import threading
from typing import NoReturn
from typing import TYPE_CHECKING

from stevedore import driver
from stevedore import named

from oslo_periodic import exceptions

if TYPE_CHECKING:
    from oslo_periodic.backends import _listing
    from oslo_periodic.backends import base

LOG = logging.getLogger(__name__)

#: The entry-point group in which a distribution names its backends.
GROUP = 'oslo.periodic.backends'
#: The environment's say, in oslo.config's spelling of the option.
ENVIRONMENT_VARIABLE = 'OS_OSLO_PERIODIC__BACKEND'
#: The value of the option that leaves the choice to the process.
AUTO = 'auto'


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
    """See that exactly one distribution provides the backend.

    :param name: the backend's name.
    :param chosen_by: who asks for it, for the error's text.
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
    :param chosen_by: who asks for it, for the error's text.
    :returns: a new instance.
    :raises UnknownBackend: if there is no such backend.
    :raises BackendNameConflict: if several distributions claim the name.
    :raises BackendDependencyMissing: if a package that it imports is missing.
    :raises BackendLoadError: if it fails otherwise, or is not a Backend.
    """
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
        # Those stevedore hands on, and gives no callback a look at.
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


@dataclasses.dataclass(frozen=True)
class Choice:
    """A backend's name, and who chose it."""

    name: str
    chosen_by: str
    automatic: bool = False

    def __str__(self) -> str:
        return f'{self.name!r}, chosen by {self.chosen_by}'


def automatic_choice() -> Choice:
    """Choose without being told: see this module's docstring, 2 to 4."""
    followed = sys.modules.get('oslo_service.backend')
    kind = followed and followed.get_backend_type()
    if kind:
        return Choice(kind.value, 'following oslo_service.backend', True)
    patcher = sys.modules.get('eventlet.patcher')
    if patcher and patcher.is_monkey_patched('thread'):
        return Choice('eventlet', 'eventlet having patched threads', True)
    return Choice('threading', 'default', True)


def environment_choice() -> Choice | None:
    """Return what the environment says, if it says anything."""
    # Set and empty is how many a shell script says unset.
    name = os.environ.get(ENVIRONMENT_VARIABLE) or AUTO
    if name == AUTO:
        return None
    return Choice(name, f'the environment variable {ENVIRONMENT_VARIABLE}')


class Selector:
    """The one selection of a process, from provisional to final."""

    def __init__(self) -> None:
        """Make the provisional choice.

        :raises UnknownBackend: if the environment names an unknown backend.
        :raises BackendNameConflict: if two distributions claim its name.
        """
        self.in_use: base.Backend | None = None
        self._first_use = ''
        self._loaded: base.Backend | None = None
        self._lock = threading.RLock()
        self._announced = False
        spoken = environment_choice()
        if spoken:
            check_name(spoken.name, spoken.chosen_by)
        self.choice = spoken or automatic_choice()

    def choose(self, choice: Choice) -> None:
        """Replace the provisional choice.

        :param choice: what to choose instead.
        :raises BackendAlreadySelected: if another backend is in use.
        """
        with self._lock:
            if self.in_use is not None:
                if choice.name != self.choice.name:
                    raise exceptions.BackendAlreadySelected(
                        f'Cannot choose backend {choice}: the backend is '
                        f'{self.choice}, and in use since {self._first_use}. '
                        'Choose before the first tick.'
                    )
                return
            if choice.name == self.choice.name and not self.choice.automatic:
                return
            loaded = load(choice.name, choice.chosen_by)
            self.choice, self._loaded = choice, loaded
            self._announce()

    def adopt(self, backend: base.Backend) -> None:
        """Choose an instance, which no entry point need name."""
        with self._lock:
            self.choice = Choice(backend.name, 'override')
            self._loaded = backend

    def get(self) -> base.Backend:
        """Return the backend as chosen so far, which may still change."""
        with self._lock:
            if self._loaded is None:
                self._loaded = load(self.choice.name, self.choice.chosen_by)
            return self._loaded

    def use(self, purpose: str) -> base.Backend:
        """Return the backend, which is final from now on.

        :param purpose: what it is used for, and where, for errors to come.
        """
        with self._lock:
            if self.in_use is None:
                if self.choice.automatic:
                    self._look_again()
                backend = self.get()
                if not self._announced:
                    self._announce()
                self._first_use = purpose
                self.in_use = backend
            return self.in_use

    def _look_again(self) -> None:
        choice = automatic_choice()
        if choice != self.choice:
            self.choice, self._loaded = choice, None
            self._announced = False

    def _announce(self) -> None:
        self._announced = True
        LOG.info(
            'Periodic tasks use the backend %(name)r, chosen by %(by)s',
            {'name': self.choice.name, 'by': self.choice.chosen_by},
        )


#: What this process uses. Tests replace it (:mod:`oslo_periodic.fixture`).
selector = Selector()


def init_backend(name: str | enum.Enum) -> None:
    """Choose the backend of this process, before it is first used.

    :param name: the backend's name, or a member of
        ``oslo_service.backend.BackendType``.
    :raises BackendAlreadySelected: if another backend is in use.
    :raises UnknownBackend: if there is no such backend; see :func:`load` for
        the other ways in which loading can fail.
    """
    if isinstance(name, enum.Enum):
        name = name.value
    caller = sys._getframe(1)
    selector.choose(
        Choice(
            str(name),
            f'init_backend at {caller.f_code.co_filename}:{caller.f_lineno}',
        )
    )


def get_backend() -> base.Backend:
    """Return the backend of this process as it is chosen so far.

    Asking is not using: until the first tick the choice may still change.

    :raises BackendDependencyMissing: if a package that it imports is missing.
    :raises BackendLoadError: if it fails to load.
    """
    return selector.get()


@contextlib.contextmanager
def override(backend: str | base.Backend | None = None) -> Iterator[Selector]:
    """Start the selection anew, and restore what was at the end.

    It is meant for tests, and not for running code: what is in use stays in
    use by those who hold it.

    :param backend: a backend's name, or an instance; None chooses as a new
        process would.
    """
    global selector

    replaced, selector = selector, Selector()
    try:
        if isinstance(backend, str):
            selector.choose(Choice(backend, 'override'))
        elif backend is not None:
            selector.adopt(backend)
        yield selector
    finally:
        selector = replaced


def available_backends() -> list[_listing.BackendInfo]:
    """Describe the installed backends.

    What is not loaded into this process yet is looked at in a process of its
    own, so that asking about eventlet does not import eventlet.

    :returns: one description for each entry point, sorted by name.
    """
    from oslo_periodic.backends import _listing

    return _listing.available_backends()
