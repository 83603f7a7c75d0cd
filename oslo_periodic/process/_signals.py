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

"""What signals mean to a worker process.

A signal to the process group or the cgroup of a service is meant for the
service, which decides what becomes of its workers. So workers lead groups of
their own and ignore these signals; the programs and the forked children of
tasks do not inherit that.
"""

from __future__ import annotations

from collections.abc import Generator
import contextlib
import faulthandler
import os
import signal
import threading
from types import FrameType

#: Those that service managers and operators send to a service.
_OF_THE_SERVICE = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
#: Makes a worker write down its stack and then stop; its default action is to
#: stop, and only a terminal sends it by itself, to the group of the service.
STACK = signal.SIGTSTP


@contextlib.contextmanager
def blocked() -> Generator[None, None, None]:
    """Block the signals of the service in this thread, and in a new process.

    A worker unblocks them once it ignores them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_SERVICE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def handle(stack_fd: int) -> None:
    """Handle signals as a worker.

    :param stack_fd: where to write the stack.
    """
    # Not at import: the parent needs no ctypes.
    from oslo_periodic.process import _libc

    for number in _OF_THE_SERVICE:
        # Not SIG_IGN, which the programs of tasks would inherit.
        signal.signal(number, _ignore)
        signal.siginterrupt(number, False)
    signal.signal(STACK, signal.SIG_DFL)
    faulthandler.register(STACK, file=stack_fd, all_threads=True, chain=True)
    _libc.enlarge_signal_stack()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _handle_forks()


def _handle_forks() -> None:
    """Have the children that tasks fork handle signals as any program.

    The signals of the service are blocked meanwhile: one that comes before
    the child handles it would be lost.
    """
    masks = threading.local()

    def before() -> None:
        masks.before = signal.pthread_sigmask(
            signal.SIG_BLOCK, _OF_THE_SERVICE
        )

    def after_in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def after_in_child() -> None:
        _reset()
        after_in_parent()

    os.register_at_fork(
        before=before,
        after_in_parent=after_in_parent,
        after_in_child=after_in_child,
    )


def _reset() -> None:
    faulthandler.unregister(STACK)
    for number in _OF_THE_SERVICE:
        if signal.getsignal(number) is _ignore:
            default = number == signal.SIGINT
            signal.signal(
                number,
                signal.default_int_handler if default else signal.SIG_DFL,
            )


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
