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

"""The commands of the control socket."""

from oslo_periodic import exceptions
from oslo_periodic.operate import _commands
from tests import base


class _Operated:
    """Notes what is called."""

    def __init__(self):
        self.calls = []
        self.problems = []

    def health(self):
        return self.problems

    def status(self):
        return {'tasks': []}

    def __getattr__(self, method):
        return lambda *arguments: self.calls.append((method, *arguments))


class TestCommands(base.TestCase):
    def setUp(self):
        super().setUp()
        self.operated = _Operated()
        self.commands = _commands.commands(self.operated)

    def test_what_needs_a_task(self):
        for name in ('pause', 'resume', 'run'):
            exc = self.assertRaises(
                exceptions.RunnerError, self.commands[name], None, 'me'
            )
            self.assertIn('needs a task', str(exc))
            self.commands[name]('sync', 'me')
        self.assertEqual(
            [('pause', 'sync'), ('resume', 'sync'), ('run', 'sync')],
            self.operated.calls,
        )

    def test_what_needs_none(self):
        self.assertEqual({'tasks': []}, self.commands['status'](None, 'me'))
        self.commands['stop'](None, 'me')
        self.assertEqual([('request_stop',)], self.operated.calls)

    def test_health(self):
        for problems in ([], ['late']):
            self.operated.problems = problems
            self.assertEqual(
                {'healthy': not problems, 'problems': problems},
                self.commands['health'](None, 'me'),
            )
