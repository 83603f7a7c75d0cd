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

"""The error for each way in which a backend fails to load.

The plugins are really installed: tests/plugins/ holds their distributions.
"""

import json

import testscenarios

from oslo_periodic import backends
from oslo_periodic.backends import _eventlet as eventlet_backend
from oslo_periodic.backends import base as backend_base
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from tests import base

PROCESSES = backend_base.Capability.PROCESSES

#: Code that makes a package impossible to import, as if not installed.
BLOCK = """
    import sys


    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] == BLOCKED:
                raise ModuleNotFoundError(f'no module {name!r}', name=name)


    BLOCKED = sys.argv[1]
    sys.meta_path.insert(0, Block())
"""


class TestErrors(testscenarios.WithScenarios, base.TestCase):
    """Each case has its error class, and a text that names what to do."""

    scenarios = [
        (
            'unknown',
            {
                'name': 'no-such-backend',
                'error': exceptions.UnknownBackend,
                'cause': None,
                'says': ("'no-such-backend'", 'gevent', 'threading', 'group'),
            },
        ),
        (
            'raises on import',
            {
                'name': 'broken',
                'error': exceptions.BackendLoadError,
                'cause': RuntimeError,
                'says': ("'broken'", 'RuntimeError: broken on purpose'),
            },
        ),
        (
            'lacks methods',
            {
                'name': 'incomplete',
                'error': exceptions.BackendLoadError,
                'cause': TypeError,
                'says': ("'incomplete'", 'event', 'worker_pool'),
            },
        ),
        (
            'is no backend',
            {
                'name': 'nobackend',
                'error': exceptions.BackendLoadError,
                'cause': None,
                'says': ("'nobackend'", 'oslo_periodic.backends.base.Backend'),
            },
        ),
        (
            'needs a package',
            {
                'name': 'needy',
                'error': exceptions.BackendDependencyMissing,
                'cause': ModuleNotFoundError,
                'says': ("'needy'", 'pip install no_such_package_anywhere'),
            },
        ),
        (
            'claimed twice',
            {
                'name': 'twice',
                'error': exceptions.BackendNameConflict,
                'cause': None,
                'says': ("'twice'", 'periodic-broken 1.0', 'periodic-twice 2'),
            },
        ),
    ]

    def check(self, error, place):
        self.assertIs(self.error, type(error))
        self.assertEqual(self.cause, error.__cause__ and type(error.__cause__))
        for text in (*self.says, *place):
            self.assertIn(text, str(error))
        self.assertNotIn('\n', str(error))

    def test_init_backend(self):
        error = self.assertRaises(
            exceptions.BackendError, backends.init_backend, self.name
        )
        self.check(error, ())

    def test_configuration(self):
        conf = base.make_conf()
        periodic_task.PeriodicTasks(conf)
        conf.set_override('backend', self.name, 'oslo_periodic')
        error = self.assertRaises(
            exceptions.BackendError, periodic_task.PeriodicTasks, conf
        )
        self.check(error, ())

    def test_every_backend_error_is_ours(self):
        """A service can catch one class."""
        self.assertTrue(issubclass(self.error, exceptions.PeriodicError))


class TestCause(base.TestCase):
    """The plugin's own exception shows where it failed."""

    def load(self, name):
        return self.assertRaises(
            exceptions.BackendError, backends.init_backend, name
        ).__cause__

    def test_of_a_plugin_that_raises(self):
        cause = self.load('broken')
        self.assertEqual(('broken on purpose',), cause.args)
        trace = cause.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        self.assertIn('periodic_broken', trace.tb_frame.f_code.co_filename)

    def test_of_a_plugin_that_lacks_methods(self):
        cause = str(self.load('incomplete'))
        self.assertIn('event', cause)
        self.assertIn('worker_pool', cause)
        self.assertNotIn('sleep', cause)

    def test_of_a_plugin_that_needs_a_package(self):
        self.assertEqual('no_such_package_anywhere', self.load('needy').name)


class TestWhoChose(base.TestCase):
    """The error for an unknown backend names what chose it."""

    def test_init_backend(self):
        error = self.assertRaises(
            exceptions.UnknownBackend, backends.init_backend, 'typo'
        )
        self.assertIn('init_backend at', str(error))
        self.assertIn('.py:', str(error))


class TestMissingPackage(base.TestCase):
    """The error for a missing library names what to install."""

    code = (
        BLOCK
        + """
    from oslo_periodic import backends
    from oslo_periodic import exceptions

    try:
        backends.init_backend(sys.argv[2])
    except exceptions.BackendDependencyMissing as exc:
        print(exc)
        print(type(exc.__cause__).__name__, exc.__cause__.name)
    """
    )

    def said(self, package, name):
        done = base.run_python(self.code, args=(package, name))
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.splitlines()

    def test_ours_names_the_extra(self):
        said, cause = self.said('eventlet', 'eventlet')
        self.assertIn("needs the package 'eventlet'", said)
        self.assertTrue(
            said.endswith("pip install 'oslo.periodic[eventlet]'"), said
        )
        self.assertEqual('ModuleNotFoundError eventlet', cause)

    def test_package_of_the_package(self):
        """Eventlet is there, and what it needs is not."""
        said, cause = self.said('greenlet', 'eventlet')
        self.assertIn("needs the package 'greenlet'", said)
        self.assertIn("pip install 'oslo.periodic[eventlet]'", said)
        self.assertEqual('ModuleNotFoundError greenlet', cause)

    def test_a_third_partys_names_the_package(self):
        said, cause = self.said('gevent', 'gevent')
        self.assertTrue(said.endswith('pip install gevent'), said)
        self.assertEqual('ModuleNotFoundError gevent', cause)

    def test_first_tick_does_not_fall_back(self):
        done = base.run_python(
            BLOCK
            + """
    from oslo_config import cfg
    from oslo_periodic import periodic_task

    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    periodic_task.PeriodicTasks(conf).run_periodic_tasks(None)
    print('ticked')
    """,
            args=('eventlet',),
            env={'OS_OSLO_PERIODIC__BACKEND': 'eventlet'},
        )
        self.assertEqual((1, ''), (done.returncode, done.stdout))
        self.assertIn("pip install 'oslo.periodic[eventlet]'", done.stderr)


class TestAvailableBackends(base.TestCase):
    """Each entry point is described, by a process that may crash."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = base.run_python("""
            import dataclasses, json, sys
            from oslo_periodic import backends

            before = set(sys.modules)
            rows = []
            for info in backends.available_backends():
                row = dataclasses.asdict(info)
                if info.capabilities is not None:
                    row['capabilities'] = sorted(
                        item.name for item in info.capabilities
                    )
                rows.append(row)
            loaded = sorted(set(sys.modules) - before)
            print(json.dumps([rows, loaded, backends.selector.choice.name]))
        """)
        rows, cls.loaded, cls.choice = json.loads(done.stdout)
        cls.rows = rows
        cls.named = {row['name']: row for row in rows}

    def test_all_are_listed(self):
        self.assertEqual(
            [
                ('broken', 'periodic-broken', '1.0'),
                ('eventlet', 'oslo.periodic'),
                ('executor', 'periodic-executor', '1.0'),
                ('exits', 'periodic-broken', '1.0'),
                ('gevent', 'periodic-gevent', '1.0'),
                ('incomplete', 'periodic-broken', '1.0'),
                ('needy', 'periodic-broken', '1.0'),
                ('nobackend', 'periodic-broken', '1.0'),
                ('threading', 'oslo.periodic'),
                ('twice', 'periodic-broken', '1.0'),
                ('twice', 'periodic-twice', '2.0'),
            ],
            [self.brief(row) for row in self.rows],
        )

    def brief(self, row):
        found = (row['name'], row['distribution'], row['version'])
        self.assertTrue(row['version'])
        return found[:2] if row['distribution'] == 'oslo.periodic' else found

    def test_what_can_be_loaded(self):
        capable = {
            name: row['capabilities']
            for name, row in self.named.items()
            if row['error'] is None
        }
        self.assertEqual(
            {'eventlet', 'executor', 'gevent', 'threading'}, set(capable)
        )
        self.assertEqual(['COOPERATIVE', 'KILL'], capable['eventlet'])
        self.assertEqual(['COOPERATIVE', 'KILL'], capable['gevent'])
        self.assertEqual(['PROCESSES'], capable['threading'])

    def test_what_cannot_be_loaded(self):
        expected = {
            'broken': 'RuntimeError: broken on purpose',
            'exits': 'ended with 42',
            'incomplete': 'worker_pool',
            'needy': 'pip install no_such_package_anywhere',
            'nobackend': 'not an oslo_periodic.backends.base.Backend',
            'twice': 'periodic-broken 1.0 and periodic-twice 2.0',
        }
        for name, text in expected.items():
            self.assertIn(text, self.named[name]['error'])
            self.assertIsNone(self.named[name]['capabilities'])

    def test_asking_imports_none_of_them(self):
        foreign = ('eventlet', 'gevent', 'greenlet', 'periodic_')
        self.assertEqual(
            [],
            [name for name in self.loaded if name.startswith(foreign)],
        )

    def test_asking_chooses_nothing(self):
        self.assertEqual('threading', self.choice)


class TestAvailableHere(base.TestCase):
    """The backend in use is described without another process."""

    class Backend(eventlet_backend.EventletBackend):
        capabilities = frozenset(backend_base.Capability)

    def test_what_is_in_use(self):
        backends.selector.adopt(self.Backend())
        periodic_task.PeriodicTasks(self.conf).run_periodic_tasks(None)
        listed = {info.name: info for info in backends.available_backends()}
        self.assertIsNone(listed['eventlet'].error)
        self.assertEqual(
            frozenset(backend_base.Capability),
            listed['eventlet'].capabilities,
        )
        self.assertEqual(set(), listed['gevent'].capabilities & {PROCESSES})

    def test_names(self):
        names = backends.names()
        self.assertEqual(sorted(set(names)), names)
        self.assertLessEqual({'eventlet', 'gevent', 'threading'}, set(names))
