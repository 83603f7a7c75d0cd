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

"""Deprecation warnings of our own code fail tests; those of others do not."""

import warnings

from tests import base

CODE = """
import warnings

from oslo_periodic.backends import _eventlet

for category in (DeprecationWarning, PendingDeprecationWarning):
    for module in ('tests', 'oslo_periodical', 'oslo_periodic.status'):
        try:
            warnings.warn_explicit('old', category, 'f', 1, module=module)
        except Warning:
            print(module)
"""


class TestDeprecations(base.TestCase):
    def test_ours(self):
        for category in (DeprecationWarning, PendingDeprecationWarning):
            for module in ('oslo_periodic', 'oslo_periodic.core._schedule'):
                self.assertRaises(
                    category,
                    warnings.warn_explicit,
                    *('old', category, 'f', 1, module),
                )

    def test_of_others(self):
        for module in ('oslo_config.cfg', 'oslo_periodical', 'tests.base'):
            warnings.warn_explicit('old', DeprecationWarning, 'f', 1, module)

    def test_in_another_process(self):
        done = base.run_python(CODE)
        self.assertEqual('oslo_periodic.status\n' * 2, done.stdout)
        self.assertEqual('', done.stderr)
