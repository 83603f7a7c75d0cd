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

"""End a worker together with the programs that its run has started.

A worker leads a process group of its own, and is a subreaper: a program whose
parent has ended becomes a child of the worker, so everything that a run
starts is a descendant of the worker. A run that is ended (by its timeout, a
stop, or the end of the pool) ends with

- its descendants, whichever group or session they have moved to, unless they
  are older than the run: an earlier run has detached those on purpose;
- the process group, which holds what earlier runs have left without a session
  of its own, too.

If the worker dies by itself, or the service is killed, the kernel has given
its descendants to another process: only the group is reached. Programs of
another user (sudo) and programs that wait in the kernel (state D) are not
reached in any case. A worker that ends between runs ends alone.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import signal
import time
from typing import NamedTuple

_TICKS_PER_SECOND = os.sysconf('SC_CLK_TCK')
#: Seconds to wait for killed programs to end.
_PATIENCE = 0.5


class _Process(NamedTuple):
    """One entry of /proc."""

    pid: int
    #: In clock ticks since the system has started; with the pid, unique.
    started: int
    state: str
    group: int


def now() -> float:
    """Return the current time on the clock of the starts of processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal."""
    process = _read(pid)
    return process is not None and process.state in 'Tt'


def kill(pid: int, pidfd: int, since: float | None) -> None:
    """Kill a worker and what it has started.

    :param pid: the worker.
    :param pidfd: the same; it was not reaped.
    :param since: when its run began, as `now` returned it; None if it runs
        nothing, so that it ends alone.
    """
    if since is not None:
        # What stands still neither forks nor reaps, and still adopts.
        send(pidfd, signal.SIGSTOP)
        _kill_descendants(pid, int(since * _TICKS_PER_SECOND))
        _kill_group(pid, pidfd)
    send(pidfd, signal.SIGKILL)


def send(pidfd: int, number: int) -> bool:
    """Send a signal to a process, unless it has ended.

    :returns: whether that is allowed: it may be that of another user.
    """
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def _kill_descendants(root: int, since: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    killed: set[_Process] = set()
    beyond: set[_Process] = set()
    while time.monotonic() < deadline:
        living = {
            process._replace(state='', group=0)
            for process in _descendants(root, since)
        } - beyond
        for process in living - killed:
            if not _kill_process(process):
                beyond.add(process)
        if not living:
            return
        # Those that end hand their children over to the worker.
        if living <= killed:
            time.sleep(0.001)
        killed |= living


def _descendants(root: int, since: int) -> Iterator[_Process]:
    parents = [root]
    while parents:
        for child in _children(parents.pop()):
            process = _read(child)
            if process is None or process.state in 'ZX':
                continue
            if process.started < since and process.group != root:
                continue  # Detached by an earlier run, with its children.
            yield process
            parents.append(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    # It may have ended; or there are no descriptors; or the kernel does not
    # list children.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{thread}/children') as file:
                found += map(int, file.read().split())
    return found


def _read(pid: int) -> _Process | None:
    try:
        with open(f'/proc/{pid}/stat') as file:
            # The name of a program may hold anything, this sign included.
            fields = file.read().rpartition(')')[2].split()
    except OSError:
        return None
    return _Process(pid, int(fields[19]), fields[0], int(fields[2]))


def _kill_process(process: _Process) -> bool:
    """Kill a process; return False if that is not allowed."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return True  # It has ended.
    try:
        current = _read(process.pid)
        # The id may be that of another process by now.
        if current is not None and current.started == process.started:
            return send(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return True


def _kill_group(pid: int, pidfd: int) -> None:
    try:
        # Raises if the worker was reaped, by a service that ignores SIGCHLD
        # or waits for any child: then the id may be that of another group.
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        os.killpg(pid, signal.SIGKILL)
    except (ChildProcessError, ProcessLookupError, PermissionError):
        pass
