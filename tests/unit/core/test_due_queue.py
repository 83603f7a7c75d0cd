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

"""The due queue against a sorted list."""

import math

from hypothesis import strategies

from oslo_periodic.core import _due_queue
from tests import base

#: Few times, so that rows share them; and those that sort unusually.
TIMES = strategies.one_of(
    strategies.integers(0, 5),
    strategies.sampled_from([-math.inf, -0.0, 0.5, 1e308]),
)
STEPS = strategies.lists(
    strategies.one_of(
        strategies.just(None),
        strategies.tuples(TIMES, strategies.integers(0, 9)),
    ),
    max_size=80,
)


class TestDueQueue(base.TestCase):
    @base.property_test(STEPS, max_examples=300)
    def test_against_a_sorted_list(self, steps):
        """A step is a row to push, or None to pop."""
        queue = _due_queue.DueQueue()
        model = []
        for step in steps:
            if step is not None:
                queue.push(*step)
                model.append(step)
                # It is stable: rows of one time keep their order.
                model.sort(key=lambda item: item[0])
            elif model:
                earliest = [r for due, r in model if due == model[0][0]]
                model = model[len(earliest) :]
                self.assertEqual(earliest, queue.peek())
                self.assertEqual(earliest, queue.pop())
            self.assertEqual(
                model[0][0] if model else math.inf, queue.next_due
            )

    def test_empty(self):
        queue = _due_queue.DueQueue()
        queue.push(1, 0)
        queue.pop()
        self.assertEqual(math.inf, queue.next_due)
        self.assertRaises(KeyError, queue.peek)
        self.assertRaises(KeyError, queue.pop)

    def test_peek_leaves_the_queue_alone(self):
        queue = _due_queue.DueQueue()
        queue.push(2, 7)
        queue.push(2, 7)
        self.assertEqual([7, 7], queue.peek())
        self.assertEqual([7, 7], queue.peek())
        self.assertEqual([7, 7], queue.pop())
