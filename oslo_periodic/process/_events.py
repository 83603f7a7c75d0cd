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

"""What a tick asks of the pool, and what the pool tells of it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How a tick treats its tasks and workers."""

    #: Seconds that a task may run; 0 is no limit.
    task_timeout: float = 0
    #: Seconds after which an idle worker ends.
    idle_timeout: float = 300
    #: Tasks after which a worker ends; 0 is no limit.
    max_tasks: int = 0
    #: A descriptor; once it is readable, what runs is ended. -1: there is
    #: none.
    end_fd: int = -1


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One task of a tick."""

    name: str
    #: With the name of its class, for people.
    full_name: str
    #: Whether the worker looks for attributes that the task has changed.
    watch: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Began:
    """A task has begun."""

    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended, or will not run any more."""

    index: int
    failure: BaseException | None
    #: The attributes of the instance that it has changed, and that are lost;
    #: None if nobody has looked.
    changed: list[str] | None
