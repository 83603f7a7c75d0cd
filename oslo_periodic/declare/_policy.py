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


"""How a task is run: the policies that the decorator and operators set.

A value of None says nothing, and leaves the matter to who is asked next: the
group of the task in the configuration, the decorator, and the defaults of
the configuration, in this order.
"""

from __future__ import annotations

import math
import numbers
from typing import Any
from typing import NamedTuple

from oslo_periodic import exceptions

#: What the policies that are words may be; the first is the default.
CHOICES = {
    'overlap': ('skip', 'queue'),
    'missed': ('coalesce', 'run_once'),
    'isolation': ('thread', 'process'),
}


class Policy(NamedTuple):
    """The policies of one task."""

    #: What becomes of a run that is due while the task runs: ``skip`` it, or
    #: ``queue`` one, which starts when the task has ended.
    overlap: str | None = None
    #: What becomes of runs that were missed: ``coalesce`` them into the next
    #: one on the grid, or ``run_once`` at once.
    missed: str | None = None
    #: Seconds that a run may take; 0 sets no limit.
    timeout: float | None = None
    #: Where it runs: ``thread``, or ``process`` of the spawn pool.
    isolation: str | None = None
    #: Whether its grid has a phase that depends on the host and its name.
    spread: bool | None = None


#: Says nothing.
UNSET = Policy()
#: What holds where nobody says anything.
DEFAULT = Policy('skip', 'coalesce', 0.0, 'thread', False)


def merge(*policies: Policy) -> Policy:
    """Return, for each policy, what the first says that says anything."""
    merged = [
        next((value for value in values if value is not None), None)
        for values in zip(*policies, strict=True)
    ]
    return Policy(*merged)


def check(name: str, policy: Policy) -> Policy:
    """Refuse what is no policy.

    :param name: the task's name, for the error's text.
    :param policy: what was said.
    :returns: the policy.
    :raises InvalidPeriodicTaskArg: naming what is wrong.
    """
    if policy == UNSET:
        return UNSET
    for argument, choices in CHOICES.items():
        value = getattr(policy, argument)
        if value is not None and value not in choices:
            _refuse(name, argument, value, ' or '.join(map(repr, choices)))
    if policy.timeout is not None and not _is_length(policy.timeout):
        _refuse(
            name,
            'timeout',
            policy.timeout,
            'a finite number of seconds, 0 for no limit',
        )
    if policy.spread not in (None, False, True):
        _refuse(name, 'spread', policy.spread, 'True or False')
    return policy


def _is_length(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    return 0 <= float(value) < math.inf


def _refuse(name: str, argument: str, value: Any, wanted: str) -> None:
    raise exceptions.InvalidPeriodicTaskArg(
        f'The {argument} of the periodic task {name!r} must be {wanted}, '
        f'not {value!r}.'
    )
