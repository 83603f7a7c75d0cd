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

"""The protocol of process pools; its names are public in `base`.

They are apart from the rest of the interface so that a process that runs no
pool does not pay for them when it is imported.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Generator
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Call:
    """One task that a process pool runs."""

    #: The name by which :meth:`Payload.load` finds the task.
    name: str
    #: With the name of its class, for log lines and errors.
    full_name: str
    #: Whether to look for attributes of the instance that the task changes.
    watch: bool


@dataclasses.dataclass(frozen=True)
class PoolSettings:
    """How a process pool treats its calls and workers."""

    #: Seconds that a call may run; 0 is no limit.
    task_timeout: float = 0
    #: Seconds after which an idle worker ends.
    idle_timeout: float = 300
    #: Calls after which a worker ends; 0 is no limit.
    max_tasks: int = 0
    #: A descriptor; the pool ends all calls once it is readable. -1: none.
    end_fd: int = -1


@dataclasses.dataclass(frozen=True)
class Began:
    """A call has begun."""

    #: Its place in the sequence of calls.
    index: int


@dataclasses.dataclass(frozen=True)
class Ended:
    """A call that had begun has ended."""

    #: Its place in the sequence of calls.
    index: int
    #: What the task raised, or how its worker ended; None is success.
    failure: BaseException | None
    #: The attributes of the instance that the task changed in its copy; None
    #: if they were not compared.
    changed: list[str] | None


class Payload(Protocol):
    """What the calls of one run work on; it can be pickled."""

    @property
    def data(self) -> bytes | memoryview:
        """The bulk of the payload, to be shared instead of pickled."""

    def with_data(self, data: bytes | memoryview) -> Payload:
        """Return the same payload over other data.

        A pool may pickle ``payload.with_data(b'')``, bring the data to its
        workers in a way of its own, and put the two together there.

        :param data: a copy of the data, or nothing.
        """

    def load(self, call: Call) -> Callable[[], list[str] | None]:
        """Unpickle a fresh copy of the instance and the context.

        It is called in the worker process, once for each call.

        :param call: the task to run.
        :returns: a function without arguments that runs the task, and
            returns the names of the attributes that it has changed if
            ``call.watch``, else None.
        """


class ProcessPool(Protocol):
    """A pool of worker processes; :meth:`.Backend.process_pool` returns it.

    :class:`oslo_periodic.testing.ProcessPoolConformance` tests its rules.
    """

    def run(
        self, payload: Payload, calls: Sequence[Call], settings: PoolSettings
    ) -> Generator[Began | Ended, None, None]:
        """Run calls in worker processes, and report each start and end.

        A worker calls ``payload.load(call)``, reports that the call begins,
        and then calls what ``load`` returned. Each call that begins has one
        `Began` and then one `Ended`; one that does not begin has no event.
        A call whose worker dies before it begins is tried again, or the run
        raises WorkerStartError. `Ended.failure` is:

        * the exception of the task, with the text of its traceback as its
          cause; or RemoteError with the exception's type and text, if the
          exception cannot be pickled and unpickled, or is SystemExit or
          KeyboardInterrupt;
        * WorkerDied, if the worker died while the call ran;
        * TaskTimeout, if the pool ended the call, because of its timeout or
          because ``settings.end_fd`` became readable. After that nothing
          begins.

        Closing the generator ends the workers of the calls that run.

        :param payload: what the calls work on.
        :param calls: what to run.
        :param settings: how to treat calls and workers.
        :returns: the events in their order; the calls run while the
            generator is consumed.
        :raises WorkerStartError: if calls did not begin because no worker
            could be started, a worker could not load the payload, the pool
            is closed, or the calls were ended. What has begun has ended then.
        """

    def end_idle(self) -> None:
        """End the workers that run no call."""

    def close(self) -> None:
        """End all workers; a closed pool runs nothing."""
