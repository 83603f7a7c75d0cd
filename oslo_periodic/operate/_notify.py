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


"""Notify the service manager, as sd_notify(3) of systemd describes."""

from __future__ import annotations

import os
import socket

from oslo_periodic import _log

LOG = _log.get_logger('oslo_periodic.runner')


#: The variables of the service manager, and the process they were read in.
#: The launcher of oslo.service deletes them before the service starts.
_AT_IMPORT = {
    name: os.environ[name]
    for name in ('NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC')
    if name in os.environ
}
_PID = os.getpid()


def _variable(name: str) -> str | None:
    """Return a variable of the environment, or its value at the import.

    A forked child has only its environment: the manager watches its parent.
    """
    value = os.environ.get(name)
    if value is None and os.getpid() == _PID:
        return _AT_IMPORT.get(name)
    return value


class ServiceManager:
    """The service manager that NOTIFY_SOCKET names, if set."""

    def __init__(self) -> None:
        self._failed = False

    def notify(self, message: str) -> None:
        """Send a message; a failure is logged once.

        :param message: such as ``READY=1``.
        """
        address = _variable('NOTIFY_SOCKET')
        if not address:
            return
        if address.startswith('@'):
            address = '\0' + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # A slow service manager must not block the tasks.
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except (OSError, ValueError) as exc:
            if not self._failed:
                LOG.warning(
                    'Cannot send %(message)s to the service manager '
                    '(NOTIFY_SOCKET): %(error)s',
                    {'message': message, 'error': exc},
                )
            self._failed = True
        else:
            self._failed = False


def watchdog_interval() -> float | None:
    """Return the seconds within which the manager expects WATCHDOG=1.

    :returns: None if it expects none.
    """
    pid = _variable('WATCHDOG_PID')
    if not _variable('NOTIFY_SOCKET') or pid not in (None, str(os.getpid())):
        return None
    try:
        microseconds = int(_variable('WATCHDOG_USEC') or '')
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
