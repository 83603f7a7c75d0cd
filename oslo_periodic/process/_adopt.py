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

"""What binds a worker to its parent, and to it the programs of its tasks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal

#: So many ended children that no code has waited for make a worker end.
_MAX_ZOMBIES = 32


class Lifeline:
    """Has the kernel kill this process when the parent has ended.

    A thread that waits for the end of the pipe would not run while C code
    holds the GIL.
    """

    def __init__(self, fd: int) -> None:
        """Bind this process to its parent.

        :param fd: the pipe of which the parent holds the other end. It is
            opened anew because its open file description says which process
            gets the signal, and all workers inherit the same one.
        """
        self._fd = os.open(f'/proc/self/fd/{fd}', os.O_RDONLY | os.O_CLOEXEC)
        os.close(fd)
        fcntl.fcntl(self._fd, fcntl.F_SETSIG, signal.SIGKILL)
        self.hold_process()
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        fcntl.fcntl(self._fd, fcntl.F_SETFL, flags | os.O_ASYNC)
        # If the parent ended before that, no signal comes.
        os.set_blocking(self._fd, False)
        try:
            if not os.read(self._fd, 1):
                os._exit(1)
        except BlockingIOError:
            pass

    def hold_process(self) -> None:
        """Kill this process alone, from now on."""
        self._set_owner(os.getpid())

    def hold_group(self) -> None:
        """Kill this process and the programs in its group, from now on.

        This is for ticks; between them, the group holds only what the tasks
        that have ended left there.
        """
        self._set_owner(-os.getpid())

    def _set_owner(self, owner: int) -> None:
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETOWN, owner)
        except OSError:
            pass  # A task has closed it; the parent will end this process.


def is_spent() -> bool:
    """Return whether this process has too many ended children.

    Adopted orphans stay in the table of processes until they are waited for.
    A worker cannot wait for them: it cannot tell them from the children of
    tasks, whose exit status it would take away. So it ends between ticks.
    """
    if not _has_ended(os.P_ALL, 0):
        return False
    children: list[int] = []
    with contextlib.suppress(OSError):  # As where descriptors are used up.
        for thread in os.listdir('/proc/self/task'):
            with open(f'/proc/self/task/{thread}/children') as file:
                children += map(int, file.read().split())
    ended = [pid for pid in children if _has_ended(os.P_PID, pid)]
    return len(ended) >= _MAX_ZOMBIES


def _has_ended(kind: int, pid: int) -> bool:
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        return os.waitid(kind, pid, options) is not None
    except ChildProcessError:
        return False
