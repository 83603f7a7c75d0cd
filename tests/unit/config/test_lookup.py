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

"""Deferred values, looked up in a configuration of any kind."""

from oslo_config import cfg

from oslo_periodic.config import _lookup
from oslo_periodic import exceptions
from tests import base


class _Group:
    interval = 7


class Stub:
    """A configuration that is no ConfigOpts, as tests of services have."""

    sync = _Group()
    interval = 3


class TestResolve(base.TestCase):
    def configure(self):
        self.conf.register_opts(
            [cfg.FloatOpt('interval', default=7), cfg.BoolOpt('is-on')],
            group='sync',
        )
        self.conf.register_opts([cfg.IntOpt('interval', default=3)])
        return self.conf

    def resolve(self, value, conf):
        return _lookup.resolve(value, 'spacing', 'sync', conf)

    def test_what_is_not_deferred(self):
        for value in (5, 2.5, None, True):
            self.assertIs(value, self.resolve(value, None))

    def test_an_option(self):
        for conf in (self.configure(), Stub()):
            self.assertEqual(7, self.resolve('[sync]interval', conf))
            self.assertEqual(7, self.resolve('[sync] interval', conf))
            self.assertEqual(3, self.resolve('[DEFAULT]interval', conf))

    def test_dashes_of_an_option(self):
        conf = self.configure()
        conf.set_override('is_on', True, 'sync')
        self.assertIs(True, self.resolve('[sync]is-on', conf))

    def test_a_callable(self):
        for conf in (self.configure(), Stub()):
            double = self.resolve(lambda conf: conf.sync.interval * 2, conf)
            self.assertEqual(14, double)

    def refuse_to_resolve(self, value, conf):
        return self.assertRaises(
            exceptions.InvalidPeriodicTaskArg, self.resolve, value, conf
        )

    def test_an_unknown_option(self):
        for value in ('[sync]unknown', '[unknown]interval'):
            for conf in (self.configure(), Stub()):
                error = self.refuse_to_resolve(value, conf)
                self.assertIn(
                    f"'sync' cannot be read from {value}", f'{error}'
                )
                self.assertIn('Is the option registered before', f'{error}')
                self.assertIsNotNone(error.__cause__)

    def test_a_callable_that_fails(self):
        def interval(conf):
            raise LookupError('on purpose')

        error = str(self.refuse_to_resolve(interval, Stub()))
        for part in ('interval', 'LookupError: on purpose'):
            self.assertIn(part, error)

    def test_an_error_of_ours_stays(self):
        def interval(conf):
            raise exceptions.InvalidPeriodicTaskArg('said better')

        error = self.refuse_to_resolve(interval, Stub())
        self.assertEqual('said better', str(error))

    def test_a_string_that_names_no_option(self):
        for value in ('', 'interval', '[sync]', 'sync.interval', '30'):
            error = self.refuse_to_resolve(value, Stub())
            self.assertIn("'[group]option'", str(error))
