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

"""What the worker processes of a pool under test run."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
import threading
import time
from typing import Any

#: Seconds; a call that is meant to be seen while it runs.
_MOMENT = 0.05


class Instance:
    """The first argument of each call; writes what happens into a file."""

    #: Set by a call, in its copy.
    fresh: bool

    def __init__(self, path: str, patience: float) -> None:
        self.tasks = Tasks()
        self.path = path
        self.patience = patience
        self.count = 0

    def note(self, *words: object) -> None:
        """Add a line to the file, in one write."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, (' '.join(map(str, words)) + '\n').encode())
        finally:
            os.close(fd)

    def notes(self) -> list[str]:
        """Return the lines so far."""
        if not os.path.exists(self.path):
            return []
        with open(self.path) as file:
            return file.read().splitlines()


class Tasks:
    """Finds the functions of this module, as tasks."""

    def function(self, name: str) -> Callable[[Instance, Any], None] | None:
        """Return the function of a call, or None if there is none."""
        return CALLS.get(name)


def note_context(self: Instance, context: object) -> None:
    self.note('context', context)


def note_size(self: Instance, context: str) -> None:
    self.note('size', len(context), context[:1], context[-1:])


def note_pid(self: Instance, context: object) -> None:
    self.note('pid', os.getpid())


def count_up(self: Instance, context: object) -> None:
    self.count += 1
    self.note('count', self.count)


def change(self: Instance, context: object) -> None:
    self.count += 1
    self.fresh = True


def meet(self: Instance, context: object) -> None:
    """Wait until two calls are here."""
    self.note('here')
    end = time.monotonic() + self.patience
    while len(self.notes()) < 2:
        if time.monotonic() > end:
            raise TimeoutError('the other call does not run')
        time.sleep(0.01)


def work(self: Instance, context: object) -> None:
    self.note('+')
    time.sleep(_MOMENT)
    self.note('-')


def fail(self: Instance, context: object) -> None:
    raise ValueError('on purpose')


class Awkward(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f'{one} {two}')


def fail_awkwardly(self: Instance, context: object) -> None:
    raise Awkward('cannot', 'travel')


def fail_with_a_lock(self: Instance, context: object) -> None:
    raise ValueError('has a lock', threading.Lock())


def exit_system(self: Instance, context: object) -> None:
    raise SystemExit(3)


def interrupt(self: Instance, context: object) -> None:
    raise KeyboardInterrupt('by a task')


def die(self: Instance, context: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(self: Instance, context: object) -> None:
    self.note('pid', os.getpid())
    time.sleep(3600)


#: The calls by their names.
CALLS: dict[str, Callable[[Instance, Any], None]] = {
    call.__name__: call
    for call in (
        note_context,
        note_size,
        note_pid,
        count_up,
        change,
        meet,
        work,
        fail,
        fail_awkwardly,
        fail_with_a_lock,
        exit_system,
        interrupt,
        die,
        hang,
    )
}


class Poison:
    """A context that ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (5,)
