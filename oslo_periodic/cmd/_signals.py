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

"""Receive signals through a pipe, and keep them from forked children."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import signal
import threading
from typing import Any

#: The signals that are written to the pipe.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: The handlers that the pipe has replaced; empty if there is no pipe.
_replaced: dict[signal.Signals, Any] = {}
#: The signal mask of a thread that forks.
_forking = threading.local()


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Write the numbers of the signals that arrive to a pipe.

    A signal handler may run in any green thread: it must not raise an
    exception, and an event that it sets does not wake the hub. Data in a
    pipe does.

    :returns: the descriptors to read from and to write to.
    """
    read_fd, write_fd = os.pipe()
    for fd in (read_fd, write_fd):
        os.set_blocking(fd, False)
    for number in HANDLED:
        _replaced[number] = signal.signal(number, lambda *_arguments: None)
    previous_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    try:
        yield read_fd, write_fd
    finally:
        signal.set_wakeup_fd(previous_fd)
        _restore_handlers()
        os.close(read_fd)
        os.close(write_fd)


def _restore_handlers() -> None:
    for number, handler in _replaced.items():
        signal.signal(number, handler)
    _replaced.clear()


def _before_fork() -> None:
    if _replaced:
        # A child that gets a signal before it has its own handlers would
        # write it to the pipe of its parent.
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _after_fork() -> None:
    mask = _forking.__dict__.pop('mask', None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    """Give a child the handlers that the command has replaced."""
    if _replaced:
        signal.set_wakeup_fd(-1)
        _restore_handlers()
    _after_fork()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child,
)
