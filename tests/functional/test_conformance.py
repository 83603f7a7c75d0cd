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

"""Every backend passes the suite that its authors are given."""

import unittest

from oslo_periodic.backends import base as backend_base
from oslo_periodic import testing
import tests
from tests import base


class TestConformance(testing.BackendConformance, base.BackendTestCase):
    """Ours and a third party's, in the same test bodies."""

    def make_backend(self):
        self.assertIsInstance(self.selected.backend, backend_base.Backend)
        self.assertEqual(self.backend, self.selected.backend.name)
        return self.selected.backend


@unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
class TestSpawnPool(testing.ProcessPoolConformance, base.TestCase):
    """The pool of our own."""

    backend = 'threading'

    def make_pool(self):
        return self.selected.backend.process_pool(2)


@unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
class TestExecutorBackend(testing.BackendConformance, base.TestCase):
    """A third party's, with a process pool of its own."""

    backend = 'executor'

    def make_backend(self):
        return self.selected.backend


@unittest.skipIf(tests.MONKEY_PATCHED, 'needs native threads')
class TestExecutorPool(testing.ProcessPoolConformance, base.TestCase):
    """A third party's, written against the public interface alone."""

    backend = 'executor'

    def make_pool(self):
        return self.selected.backend.process_pool(2)
