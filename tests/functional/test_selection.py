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

"""Which backend a process uses, what chooses it, and until when.

Almost everything here happens when a module is imported, or once in a
process: each test starts a fresh process, in which real tasks tick.
"""

import importlib.util
import json
import os
import pathlib
import sys
import textwrap

import fixtures
import testscenarios

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from tests import base

VARIABLE = 'OS_OSLO_PERIODIC__BACKEND'
#: What its threading backend imports.
OSLO_SERVICE_THREADING = all(
    importlib.util.find_spec(name) for name in ('cotyledon', 'futurist')
)
PACKAGE = pathlib.Path(backends.__file__).parent.parent

#: A service. Its task prints the backend that the tick runs on.
SERVICE = """
    import logging
    import sys

    from oslo_config import cfg
    from oslo_periodic import backends
    from oslo_periodic import periodic_task

    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format='%(levelname)s|%(name)s|%(message)s',
    )


    class Service(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=60, run_immediately=True)
        def tell(self, context):
            print(backends.get_backend().name)


    def make(*files):
        conf = cfg.ConfigOpts()
        conf([], project='tests', default_config_files=list(files))
        return Service(conf)


    def tick(service=None):
        (service or make()).run_periodic_tasks(None)
"""


class ProcessTestCase(base.TestCase):
    """Writes a service into a directory and runs code beside it."""

    def setUp(self):
        super().setUp()
        self.directory = self.useFixture(fixtures.TempDir()).path
        self.write('service.py', SERVICE)

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, 'w') as f:
            f.write(textwrap.dedent(text))
        return path

    def choose(self, backend):
        """Write a configuration file that chooses a backend."""
        return self.write(
            'service.conf', f'[oslo_periodic]\nbackend = {backend}\n'
        )

    def run_code(self, code, *args, environment=None):
        """Run code beside the service."""
        variables = {} if environment is None else {VARIABLE: environment}
        return base.run_python(
            code, env=variables, args=args, cwd=self.directory
        )

    def lines(self, code, *args, environment=None):
        """Return the lines that code prints which has to succeed."""
        done = self.run_code(code, *args, environment=environment)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.splitlines()

    def failure(self, code, *args, environment=None):
        """Return the last line on stderr of code that has to fail."""
        done = self.run_code(code, *args, environment=environment)
        self.assertEqual(1, done.returncode, done.stdout + done.stderr)
        return done.stderr.splitlines()[-1]

    def announcements(self, code, *args, environment=None):
        """Return what the library logs when code runs."""
        done = self.run_code(code, *args, environment=environment)
        self.assertEqual(0, done.returncode, done.stderr)
        return [
            line
            for line in done.stderr.splitlines()
            if '|oslo_periodic' in line
        ]


class TestProcess(testscenarios.WithScenarios, ProcessTestCase):
    """What a process looks like decides which backend its ticks run on."""

    scenarios = [
        (
            'nothing said',
            {
                'code': 'import service; service.tick()',
                'expected': 'threading',
            },
        ),
        (
            'patched before import',
            {
                'code': """
                    import eventlet; eventlet.monkey_patch()
                    import service; service.tick()
                """,
                'expected': 'eventlet',
            },
        ),
        (
            'patched after import',
            {
                'code': """
                    import service
                    import eventlet; eventlet.monkey_patch()
                    service.tick()
                """,
                'expected': 'eventlet',
            },
        ),
        (
            'patched after the instance was made',
            {
                'code': """
                    import service; made = service.make()
                    import eventlet; eventlet.monkey_patch()
                    service.tick(made)
                """,
                'expected': 'eventlet',
            },
        ),
        (
            'eventlet imported and not patched',
            {
                'code': """
                    import eventlet, eventlet.patcher
                    import service; service.tick()
                """,
                'expected': 'threading',
            },
        ),
        (
            'all but threads patched',
            {
                'code': """
                    import eventlet; eventlet.monkey_patch(thread=False)
                    import service; service.tick()
                """,
                'expected': 'threading',
            },
        ),
        (
            'oslo.service initialised to eventlet',
            {
                'code': """
                    from oslo_service import backend
                    backend.init_backend(backend.BackendType.EVENTLET)
                    import service; service.tick()
                """,
                'expected': 'eventlet',
            },
        ),
        (
            'oslo.service initialised to threading',
            {
                'code': """
                    from oslo_service import backend
                    backend.init_backend(backend.BackendType.THREADING)
                    import service; service.tick()
                """,
                'expected': 'threading',
            },
        ),
        (
            'oslo.service counts more than patching',
            {
                'code': """
                    import eventlet; eventlet.monkey_patch()
                    from oslo_service import backend
                    backend.init_backend(backend.BackendType.THREADING)
                    import service; service.tick()
                """,
                'expected': 'threading',
            },
        ),
        (
            'oslo.service initialised after import',
            {
                'code': """
                    import service; made = service.make()
                    from oslo_service import backend
                    backend.init_backend(backend.BackendType.EVENTLET)
                    service.tick(made)
                """,
                'expected': 'eventlet',
            },
        ),
        (
            'oslo.service imported and not initialised',
            {
                'code': """
                    from oslo_service import backend
                    import service; service.tick()
                    assert backend.get_backend_type() is None
                """,
                'expected': 'threading',
            },
        ),
    ]

    def test_followed(self):
        if 'BackendType.THREADING' in self.code and not OSLO_SERVICE_THREADING:
            self.skipTest('needs oslo.service[threading]')
        self.assertEqual([self.expected], self.lines(self.code))


class TestProvisional(ProcessTestCase):
    """An automatic choice is looked at again at first use, and only then."""

    def test_why_it_was_chosen(self):
        logged = self.announcements("""
            import service
            from oslo_service import backend
            backend.init_backend(backend.BackendType.EVENTLET)
            service.tick()
        """)
        self.assertEqual(
            [
                'INFO|oslo_periodic.backends|Periodic tasks use the backend '
                "'eventlet', chosen by following oslo_service.backend"
            ],
            logged,
        )

    def test_what_was_asked_for_is_not_looked_at_again(self):
        lines = self.lines("""
            import service
            service.backends.init_backend('threading')
            import eventlet; eventlet.monkey_patch()
            service.tick()
        """)
        self.assertEqual(['threading'], lines)

    def test_after_first_use_nothing_is_followed(self):
        lines = self.lines("""
            import service
            made = service.make()
            service.tick(made)
            import eventlet; eventlet.monkey_patch()
            made._periodic_last_run['tell'] = None
            service.tick(made)
        """)
        self.assertEqual(['threading', 'threading'], lines)

    def test_asking_is_not_using(self):
        lines = self.lines("""
            import service
            print(service.backends.get_backend().name)
            import eventlet; eventlet.monkey_patch()
            service.tick()
        """)
        self.assertEqual(['threading', 'eventlet'], lines)

    def test_asking_does_not_stop_a_choice(self):
        lines = self.lines("""
            import service
            asked = service.backends.get_backend()
            service.backends.init_backend('gevent')
            print(service.backends.get_backend() is asked)
            service.tick()
        """)
        self.assertEqual(['False', 'gevent'], lines)

    def test_one_backend_for_all(self):
        lines = self.lines("""
            import service
            asked = service.backends.get_backend()
            service.tick()
            print(service.backends.get_backend() is asked)
        """)
        self.assertEqual(['threading', 'True'], lines)


class TestEnvironment(ProcessTestCase):
    def test_chooses(self):
        code = 'import service; service.tick()'
        for name in ('threading', 'gevent'):
            self.assertEqual([name], self.lines(code, environment=name))

    def test_counts_more_than_the_process(self):
        """Whoever starts the service has the first say."""
        lines = self.lines(
            """
            import eventlet; eventlet.monkey_patch()
            from oslo_service import backend
            backend.init_backend(backend.BackendType.EVENTLET)
            import service; service.tick()
            """,
            environment='threading',
        )
        self.assertEqual(['threading'], lines)

    def test_says_why(self):
        logged = self.announcements(
            'import service; service.tick()', environment='eventlet'
        )
        self.assertEqual(1, len(logged), logged)
        self.assertIn("'eventlet', chosen by the environment", logged[0])
        self.assertIn(VARIABLE, logged[0])

    def test_unknown_name_fails_at_import(self):
        error = self.failure(
            'import oslo_periodic.periodic_task', environment='evenlet'
        )
        self.assertIn('UnknownBackend', error)
        self.assertIn("'evenlet'", error)
        self.assertIn(VARIABLE, error)
        for known in ('eventlet', 'gevent', 'threading'):
            self.assertIn(known, error)

    def test_claimed_twice_fails_at_import(self):
        error = self.failure(
            'import oslo_periodic.periodic_task', environment='twice'
        )
        self.assertIn('BackendNameConflict', error)

    def test_what_cannot_be_loaded_fails_when_the_tasks_start(self):
        """A plugin may be importing this very package; so not at import."""
        error = self.failure(
            """
            import service
            print('imported')
            service.tick()
            print('ran')
            """,
            environment='broken',
        )
        self.assertIn('BackendLoadError', error)
        self.assertIn('broken on purpose', error)

    def test_auto_leaves_it_to_the_process(self):
        lines = self.lines(
            """
            import service
            import eventlet; eventlet.monkey_patch()
            service.tick()
            """,
            environment='auto',
        )
        self.assertEqual(['eventlet'], lines)

    def test_empty_is_unset(self):
        """Which is how many a shell script leaves it out."""
        lines = self.lines('import service; service.tick()', environment='')
        self.assertEqual(['threading'], lines)

    def test_service_may_still_choose(self):
        lines = self.lines(
            """
            import service
            service.backends.init_backend('threading')
            service.tick()
            """,
            environment='eventlet',
        )
        self.assertEqual(['threading'], lines)


class TestConfiguration(ProcessTestCase):
    """A service that chooses in its file gets that with no further code."""

    code = """
        import sys
        import service
        service.tick(service.make(*sys.argv[1:]))
    """

    def test_chooses(self):
        for name in ('eventlet', 'gevent'):
            lines = self.lines(self.code, self.choose(name))
            self.assertEqual([name], lines)

    def test_says_why(self):
        path = self.choose('eventlet')
        logged = self.announcements(self.code, path)
        self.assertEqual(
            [
                'INFO|oslo_periodic.backends|Periodic tasks use the backend '
                f"'eventlet', chosen by [oslo_periodic] backend in {path}"
            ],
            logged,
        )

    def test_counts_more_than_the_process(self):
        lines = self.lines(
            'import eventlet; eventlet.monkey_patch()'
            + textwrap.dedent(self.code),
            self.choose('threading'),
        )
        self.assertEqual(['threading'], lines)

    def test_auto(self):
        self.assertEqual(
            ['threading'], self.lines(self.code, self.choose('auto'))
        )

    def test_unknown_name(self):
        path = self.choose('evenlet')
        error = self.failure(self.code, path)
        self.assertIn('UnknownBackend', error)
        self.assertIn("'evenlet', which was chosen by [oslo_pe", error)
        self.assertIn(path, error)

    def test_environment_agrees(self):
        lines = self.lines(
            self.code, self.choose('eventlet'), environment='eventlet'
        )
        self.assertEqual(['eventlet'], lines)

    def test_environment_contradicts(self):
        path = self.choose('eventlet')
        error = self.failure(self.code, path, environment='threading')
        self.assertIn('BackendChoiceConflict', error)
        for text in ("'threading'", VARIABLE, "'eventlet'", path):
            self.assertIn(text, error)

    def test_environment_contradicts_the_last_file(self):
        last = self.choose('gevent')
        first = self.write('first.conf', '[oslo_periodic]\nbackend=eventlet\n')
        error = self.failure(self.code, first, last, environment='eventlet')
        self.assertIn(last, error)

    def test_environment_keeps_what_the_file_leaves_open(self):
        for path in (self.choose('auto'), self.write('empty.conf', '')):
            lines = self.lines(self.code, path, environment='eventlet')
            self.assertEqual(['eventlet'], lines)

    def test_environment_leaves_it_to_the_file(self):
        lines = self.lines(
            self.code, self.choose('eventlet'), environment='auto'
        )
        self.assertEqual(['eventlet'], lines)

    def test_second_instance_agrees(self):
        lines = self.lines(
            """
            import sys
            import service
            service.tick(service.make(sys.argv[1]))
            service.tick(service.make(sys.argv[1]))
            """,
            self.choose('eventlet'),
        )
        self.assertEqual(['eventlet', 'eventlet'], lines)

    def test_second_instance_comes_before_first_use(self):
        lines = self.lines(
            """
            import sys
            import service
            first = service.make()
            second = service.make(sys.argv[1])
            service.tick(first)
            service.tick(second)
            """,
            self.choose('eventlet'),
        )
        self.assertEqual(['eventlet', 'eventlet'], lines)

    def test_second_instance_comes_too_late(self):
        path = self.choose('eventlet')
        error = self.failure(
            """
            import sys
            import service
            service.tick()
            service.make(sys.argv[1])
            """,
            path,
        )
        self.assertIn('BackendAlreadySelected', error)
        self.assertIn(path, error)
        self.assertIn("the backend is 'threading'", error)
        self.assertIn('the first tick of Service at', error)


class TestConfigurationObjects(base.TestCase):
    """What stands in for a configuration file."""

    def choice(self):
        return backends.selector.choice

    def test_override(self):
        opts.register(self.conf)
        self.conf.set_override('backend', 'eventlet', opts.GROUP)
        periodic_task.PeriodicTasks(self.conf)
        self.assertEqual('eventlet', backends.get_backend().name)
        self.assertIn('an override', self.choice().chosen_by)

    def test_default_of_the_service(self):
        opts.register(self.conf)
        self.conf.set_default('backend', 'eventlet', opts.GROUP)
        periodic_task.PeriodicTasks(self.conf)
        self.assertEqual('eventlet', backends.get_backend().name)
        self.assertIn('a default that the service', self.choice().chosen_by)

    def test_override_against_the_environment(self):
        self.useFixture(fixtures.EnvironmentVariable(VARIABLE, 'threading'))
        opts.register(self.conf)
        self.conf.set_override('backend', 'eventlet', opts.GROUP)
        error = self.assertRaises(
            exceptions.BackendChoiceConflict,
            periodic_task.PeriodicTasks,
            self.conf,
        )
        self.assertIn(VARIABLE, str(error))
        self.assertIn('an override', str(error))

    def test_nothing_said(self):
        before = self.choice()
        periodic_task.PeriodicTasks(self.conf)
        self.assertEqual(before, self.choice())

    def test_object_that_is_no_configuration(self):
        class Conf:
            run_external_periodic_tasks = True
            registered = []

            def register_opts(self, opts):
                self.registered += [opt.name for opt in opts]

        conf = Conf()
        before = self.choice()
        tasks = periodic_task.PeriodicTasks(conf)
        self.assertEqual(60, tasks.run_periodic_tasks(None))
        self.assertEqual(['run_external_periodic_tasks'], conf.registered)
        self.assertEqual(before.name, backends.selector.in_use.name)


class TestInitBackend(ProcessTestCase):
    def test_by_name(self):
        for name in ('threading', 'gevent'):
            lines = self.lines(
                """
                import sys
                import service
                service.backends.init_backend(sys.argv[1])
                service.tick()
                """,
                name,
            )
            self.assertEqual([name], lines)

    def test_by_a_member_of_oslo_service(self):
        """The member names the backend; oslo.service is not initialised."""
        for name in ('THREADING', 'EVENTLET'):
            lines = self.lines(
                """
                import sys
                import service
                from oslo_service import backend
                service.backends.init_backend(backend.BackendType[sys.argv[1]])
                service.tick()
                """,
                name,
            )
            self.assertEqual([name.lower()], lines)

    def test_says_once_who_chose_what_and_why(self):
        self.write(
            'starter.py',
            """
            from oslo_periodic import backends


            def start():
                backends.init_backend('eventlet')
            """,
        )
        logged = self.announcements("""
            import service, starter
            starter.start()
            service.tick()
            service.tick()
        """)
        self.assertEqual(1, len(logged), logged)
        self.assertTrue(logged[0].startswith('INFO|'), logged)
        self.assertIn("'eventlet', chosen by init_backend at", logged[0])
        self.assertTrue(logged[0].endswith('starter.py:6'), logged)

    def test_replaced_before_first_use(self):
        logged = self.announcements("""
            import service
            service.backends.init_backend('eventlet')
            service.backends.init_backend('eventlet')
            service.backends.init_backend('threading')
            service.tick()
        """)
        chosen = [
            line.partition('backend ')[2].split(',')[0] for line in logged
        ]
        self.assertEqual(["'eventlet'", "'threading'"], chosen)

    def test_same_choice_after_first_use(self):
        lines = self.lines("""
            import service
            service.tick()
            used = service.backends.get_backend()
            service.backends.init_backend('threading')
            print(service.backends.get_backend() is used)
        """)
        self.assertEqual(['threading', 'True'], lines)

    def test_another_choice_after_first_use(self):
        self.write(
            'driver.py',
            """
            import service


            def drive():
                service.make().run_periodic_tasks(None)
            """,
        )
        error = self.failure("""
            import driver, service
            driver.drive()
            service.backends.init_backend('eventlet')
        """)
        self.assertIn('BackendAlreadySelected', error)
        self.assertIn("Cannot choose backend 'eventlet'", error)
        self.assertIn("the backend is 'threading', chosen by default", error)
        self.assertIn('the first tick of Service at', error)
        self.assertIn('driver.py:6', error)

    def test_backend_of_first_use_stays(self):
        lines = self.lines("""
            import service
            from oslo_periodic import exceptions
            made = service.make()
            service.tick(made)
            try:
                service.backends.init_backend('eventlet')
            except exceptions.BackendAlreadySelected:
                made._periodic_last_run['tell'] = None
                service.tick(made)
        """)
        self.assertEqual(['threading', 'threading'], lines)


class TestFailedChoice(base.TestCase):
    """A choice that fails changes nothing."""

    def test_nothing_changes(self):
        before = backends.selector.choice
        backend = backends.get_backend()
        for name in ('no-such', 'broken', 'twice'):
            self.assertRaises(
                exceptions.BackendError, backends.init_backend, name
            )
            self.assertEqual(before, backends.selector.choice)
            self.assertIs(backend, backends.get_backend())


class TestWhatIsImported(ProcessTestCase):
    def test_package_alone_loads_nothing(self):
        lines = self.lines("""
            import sys
            before = set(sys.modules)
            import oslo_periodic
            print(*sorted(set(sys.modules) - before))
        """)
        self.assertEqual(['oslo_periodic'], lines)

    def test_threading_loads_no_other_concurrency(self):
        lines = self.lines("""
            import sys
            import service
            NAMES = (
                'concurrent.futures.process',
                'eventlet',
                'futurist',
                'greenlet',
                'multiprocessing',
            )
            loaded = [name for name in NAMES if name in sys.modules]
            service.tick()
            ticked = [name for name in NAMES if name in sys.modules]
            print(loaded, ticked)
        """)
        self.assertEqual(['threading', '[] []'], lines)

    def test_import_does_not_load_the_backend(self):
        """Not even its module: that is done when it is needed."""
        lines = self.lines(
            """
            import sys
            import oslo_periodic.periodic_task
            print('eventlet' in sys.modules)
            """,
            environment='eventlet',
        )
        self.assertEqual(['False'], lines)

    def test_interface_needs_the_standard_library_alone(self):
        """A plugin is written against base.py at no cost."""
        lines = self.lines(
            """
            import json, runpy, sys
            before = set(sys.modules)
            runpy.run_path(sys.argv[1])
            loaded = {name.split('.')[0] for name in sys.modules}
            print(json.dumps(sorted(loaded - before)))
            """,
            str(PACKAGE / 'backends' / 'base.py'),
        )
        foreign = set(json.loads(lines[0])) - sys.stdlib_module_names
        self.assertEqual(set(), foreign)
