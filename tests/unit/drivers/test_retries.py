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


"""The delays before another try to start a worker."""

from oslo_periodic.drivers import _retries
from tests import base


class TestRetryDelay(base.TestCase):
    def test_it_doubles_up_to_a_minute(self):
        delays = [_retries.delay(tries) for tries in range(8)]
        self.assertEqual([1, 2, 4, 8, 16, 32, 60, 60], delays)

    def test_any_number_of_tries(self):
        """2.0 ** 1024 is too large for a float."""
        for tries in (1023, 1024, 1025, 10**6):
            self.assertEqual(60, _retries.delay(tries))
