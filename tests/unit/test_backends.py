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

"""The parts of backends that need no tick."""

import threading
import unittest

from oslo_periodic.backends import _threading
from oslo_periodic.backends import base as backend_base
import tests
from tests import base


class TestNamesOfThreads(base.TestCase):
    backend = 'threading'

    def names(self, pool, calls=2):
        """Return the names of the threads that run calls side by side."""
        self.addCleanup(pool.shutdown)
        barrier = threading.Barrier(calls)

        def call():
            barrier.wait(10)
            return threading.current_thread().name

        futures = [pool.submit(call) for _ in range(calls)]
        return sorted(future.result(10) for future in futures)

    @unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
    def test_the_name_is_given(self):
        pool = self.selected.backend.named_worker_pool(2, 'periodic-timer')
        self.assertEqual(
            ['periodic-timer_0', 'periodic-timer_1'], self.names(pool)
        )

    @unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
    def test_no_name_is_given(self):
        pool = self.selected.backend.worker_pool(2)
        self.assertEqual(['periodic_0', 'periodic_1'], self.names(pool))

    def test_workers_are_checked(self):
        self.assertRaises(
            ValueError, self.selected.backend.named_worker_pool, 0, 'x'
        )

    def test_a_backend_that_makes_other_pools(self):
        class Own(_threading.ThreadingBackend):
            def worker_pool(self, workers):
                return made

        made = object()
        self.assertIs(made, Own().named_worker_pool(1, 'x'))


class TestNamesAreOptional(base.BackendTestCase):
    def test_a_plugin_without_names(self):
        pool = self.selected.backend.named_worker_pool(1, 'periodic-timer')
        self.addCleanup(pool.shutdown, wait=False)
        self.assertEqual(3, pool.submit(len, 'abc').result(10))


class TestInterface(base.TestCase):
    """The names of process pools are loaded when they are needed."""

    def test_all_names(self):
        for name in backend_base.__all__:
            self.assertIn(name, dir(backend_base))
            self.assertIsNotNone(getattr(backend_base, name))

    def test_an_unknown_name(self):
        self.assertRaises(AttributeError, lambda: backend_base.Unknown)
