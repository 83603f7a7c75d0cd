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

"""A test of a rule, and what the tests of backends share."""

from __future__ import annotations

from collections.abc import Callable
import concurrent.futures
import functools
from typing import Any
from typing import TYPE_CHECKING
import unittest

from oslo_periodic.backends import base

if TYPE_CHECKING:
    _TestCase = unittest.TestCase
else:
    _TestCase = object

#: Seconds; a wait that is meant to time out.
SHORT = 0.05


def rule(text: str) -> Callable[[Callable[[Any], None]], Any]:
    """Make a test of a rule, so that a failure names the rule.

    :param text: the rule, a clause without a full stop.
    """

    def decorate(test: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(test)
        def checked(self: Any) -> None:
            try:
                test(self)
            except unittest.SkipTest:
                raise
            except BaseException as exc:
                raise AssertionError(
                    f'The {self._tested()} breaks the rule: {text}. '
                    f'({type(exc).__name__}: {exc})'
                ) from exc

        checked.__doc__ = f'{text[0].upper()}{text[1:]}.'
        return checked

    return decorate


class Suite(_TestCase):
    """What both suites share."""

    #: Seconds that a call may take that conforming code does at once. Rules
    #: about waiting are checked by order and not by measuring time.
    patience: float = 10.0

    def _tested(self) -> str:
        raise NotImplementedError


class BackendSuite(Suite):
    """What the tests of a backend share."""

    backend: base.Backend

    def make_backend(self) -> base.Backend:
        raise NotImplementedError

    def setUp(self) -> None:
        super().setUp()
        self.backend = self.make_backend()

    def _tested(self) -> str:
        return f'backend {self.backend!r}'

    def _pool(self, workers: int) -> concurrent.futures.Executor:
        pool = self.backend.worker_pool(workers)
        self.addCleanup(pool.shutdown, wait=False, cancel_futures=True)
        return pool

    def _gate(self) -> base.Event:
        """Make an event that is set at the end, so that no thread waits."""
        event = self.backend.event()
        self.addCleanup(event.set)
        return event
