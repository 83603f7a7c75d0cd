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

"""Which backend this process uses, and how the backend is loaded.

This module chooses a name when it is imported. The first source that names a
backend wins:

1. the environment: ``OS_OSLO_PERIODIC__BACKEND``, which is how oslo.config
   spells ``[oslo_periodic] backend``;
2. an initialised :mod:`oslo_service.backend`, which is followed;
3. eventlet, if it has monkey-patched threads;
4. ``threading``.

Until the backend is first used, :func:`init_backend` or the configuration of
a :class:`~oslo_periodic.periodic_task.PeriodicTasks` may replace the choice;
an automatic choice (2 to 4) is made again at first use. After first use the
choice is final. The plugin itself is loaded when it is first needed, not at
import, because the plugin may be importing this package at that very moment.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import enum
import sys
from typing import TYPE_CHECKING

from oslo_periodic.backends import _at_exit  # noqa: F401 (registers itself)
from oslo_periodic.backends import _loading
from oslo_periodic.backends import _selection

if TYPE_CHECKING:
    from oslo_periodic.backends import _listing
    from oslo_periodic.backends import base

#: The entry-point group in which a distribution names its backends.
GROUP = _loading.GROUP
names = _loading.names
check_name = _loading.check_name
load = _loading.load

#: The environment variable, in oslo.config's spelling of the option.
ENVIRONMENT_VARIABLE = _selection.ENVIRONMENT_VARIABLE
#: The value of the option that selects the backend automatically.
AUTO = _selection.AUTO
Choice = _selection.Choice
Selector = _selection.Selector
automatic_choice = _selection.automatic_choice
environment_choice = _selection.environment_choice

#: The selection of this process; :func:`override` replaces it in tests.
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
    """Return the backend that is chosen so far.

    This call does not use the backend: until the first tick the choice may
    still change.

    :raises BackendDependencyMissing: if a package that it imports is missing.
    :raises BackendLoadError: if it fails to load.
    """
    return selector.get()


@contextlib.contextmanager
def override(backend: str | base.Backend | None = None) -> Iterator[Selector]:
    """Start with a new selection, and restore the previous one at the end.

    It is meant for tests, not for running code: objects that hold the
    previous backend keep using it.

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

    A backend that this process does not use is loaded in a process of its
    own, so that describing eventlet does not import eventlet here.

    :returns: one description for each entry point, sorted by name.
    """
    from oslo_periodic.backends import _listing

    return _listing.available_backends(selector.in_use)
