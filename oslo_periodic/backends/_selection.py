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

"""The selection of one process: provisional at first, final after use."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from typing import TYPE_CHECKING

from oslo_periodic import _log
from oslo_periodic.backends import _loading
from oslo_periodic import exceptions

if TYPE_CHECKING:
    from oslo_periodic.backends import base

LOG = _log.get_logger('oslo_periodic.backends')

#: The environment variable, in oslo.config's spelling of the option.
ENVIRONMENT_VARIABLE = 'OS_OSLO_PERIODIC__BACKEND'
#: The value of the option that selects the backend automatically.
AUTO = 'auto'


@dataclasses.dataclass(frozen=True)
class Choice:
    """A backend's name, and what chose it."""

    name: str
    chosen_by: str
    automatic: bool = False

    def __str__(self) -> str:
        return f'{self.name!r}, chosen by {self.chosen_by}'


def automatic_choice() -> Choice:
    """Choose by what the process has loaded.

    An initialised :mod:`oslo_service.backend` comes first, then eventlet if
    it has patched threads; the default is ``threading``.
    """
    followed = sys.modules.get('oslo_service.backend')
    kind = followed and followed.get_backend_type()
    if kind:
        return Choice(kind.value, 'following oslo_service.backend', True)
    patcher = sys.modules.get('eventlet.patcher')
    if patcher and patcher.is_monkey_patched('thread'):
        return Choice('eventlet', 'eventlet having patched threads', True)
    return Choice('threading', 'default', True)


def environment_choice() -> Choice | None:
    """Return the choice of the environment, or None if it makes none."""
    # Many shell scripts unset a variable by setting it to nothing.
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
        requested = environment_choice()
        if requested:
            _loading.check_name(requested.name, requested.chosen_by)
        self.choice = requested or automatic_choice()

    def choose(self, choice: Choice) -> None:
        """Replace the provisional choice.

        :param choice: the new choice.
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
            loaded = _loading.load(choice.name, choice.chosen_by)
            self.choice, self._loaded = choice, loaded
            self._announce()

    def adopt(self, backend: base.Backend) -> None:
        """Choose an instance; it needs no entry point."""
        with self._lock:
            self.choice = Choice(backend.name, 'override')
            self._loaded = backend

    def get(self) -> base.Backend:
        """Return the backend chosen so far; the choice may still change."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _loading.load(
                    self.choice.name, self.choice.chosen_by
                )
            return self._loaded

    def use(self, purpose: str) -> base.Backend:
        """Return the backend and make the choice final.

        :param purpose: what uses it and where, for the text of later errors.
        """
        with self._lock:
            if self.in_use is None:
                if self.choice.automatic:
                    self._choose_again()
                backend = self.get()
                if not self._announced:
                    self._announce()
                self._first_use = purpose
                self.in_use = backend
            return self.in_use

    def _choose_again(self) -> None:
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
