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

"""What services and their tests do to the reference's private parts."""

import abc
import copy
import functools
import logging
import pickle
import types
from unittest import mock

import fixtures

from oslo_periodic import fixture
from oslo_periodic import periodic_task
from tests import base

task = periodic_task.periodic_task


class Service(periodic_task.PeriodicTasks):
    """Importable, so its instances pickle."""

    def __init__(self, conf):
        self.early = []
        super().__init__(conf)

    @task(spacing=10)
    def a(self, context):
        self.early.append(('a', context))

    @task(spacing=20, run_immediately=True)
    def b(self, context):
        self.early.append(('b', context))


class Subclass(Service):
    """Says itself what is pickled, as some services do."""

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != 'unpicklable'}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def a(self, context):
        self.early.append(('mine', context))


class PlainConf:
    """All that a conf needs."""

    run_external_periodic_tasks = True

    def register_opts(self, opts):
        pass


@task(spacing=30, run_immediately=True)
def added(self, context):
    self.early.append(('added', context))


class _TestCase(base.BackendTestCase):
    def setUp(self):
        super().setUp()
        self.clock = self.useFixture(fixture.ClockFixture())

    def tick(self, service, seconds=0):
        self.clock.advance(seconds)
        service.early.clear()
        self.idle = service.run_periodic_tasks(context='c')
        return [name for name, context in service.early if context == 'c']


class TestPokes(_TestCase):
    def test_patching_now(self):
        service = Service(self.conf)
        with mock.patch('oslo_periodic.periodic_task.now') as now:
            now.return_value = 1011
            self.assertEqual(['a', 'b'], self.tick(service))

    def test_patching_nearest_boundary(self):
        service = Service(self.conf)
        patch = mock.patch.object(
            periodic_task, '_nearest_boundary', return_value=995
        )
        with patch as boundary:
            self.tick(service)
        boundary.assert_called_once_with(None, 20)
        self.assertEqual(995, service._periodic_last_run['b'])
        self.assertEqual(10, self.idle)

    def test_last_run_from_outside(self):
        service = Service(self.conf)
        self.assertEqual({'a': 1000, 'b': None}, service._periodic_last_run)
        self.tick(service)
        service._periodic_last_run['a'] = None
        self.assertEqual(['a'], self.tick(service))
        service._periodic_last_run['b'] = 900
        self.assertEqual(['b'], self.tick(service))
        service._periodic_last_run = {'a': None, 'b': None}
        self.assertEqual(['a', 'b'], self.tick(service))

    def test_spacing_from_outside(self):
        service = Service(self.conf)
        self.tick(service)
        service._periodic_spacing['a'] = 3
        self.assertEqual(['a'], self.tick(service, 3))
        service._periodic_spacing['a'] = -1
        self.assertEqual([], self.tick(service, 10))
        service._periodic_spacing['a'] = 0
        self.assertEqual(60, service._periodic_spacing['a'])
        del service._periodic_spacing['a']
        self.assertEqual(10, service._periodic_spacing['a'])

    def test_patching_the_dicts(self):
        service = Service(self.conf)
        with mock.patch.dict(service._periodic_last_run, {'a': None}):
            self.assertEqual(['a', 'b'], self.tick(service))
        self.assertEqual({'a': 1000, 'b': None}, service._periodic_last_run)
        with mock.patch.dict(service._periodic_spacing, {'b': 5}):
            self.assertEqual(5, service._periodic_spacing['b'])
        self.assertEqual({'a': 10, 'b': 20}, service._periodic_spacing)

    def test_bad_values_from_outside(self):
        service = Service(self.conf)
        for view, value in (
            (service._periodic_last_run, float('nan')),
            (service._periodic_last_run, '5'),
            (service._periodic_spacing, float('inf')),
            (service._periodic_spacing, None),
        ):
            before = dict(view)
            exc = self.assertRaises(
                periodic_task.InvalidPeriodicTaskArg,
                view.__setitem__,
                'a',
                value,
            )
            self.assertIn("'a'", str(exc))
            self.assertEqual(before, view)
            exc = self.assertRaises(KeyError, view.__setitem__, 'nope', 1)
            self.assertIn('nope', str(exc))

    def test_the_task_list_from_outside(self):
        service = Service(self.conf)
        self.assertEqual(
            [('a', Service.a), ('b', Service.b)], service._periodic_tasks
        )
        service._periodic_tasks.append(('added', added))
        self.assertEqual(['b', 'added'], self.tick(service))
        service._periodic_tasks.remove(('b', Service.b))
        self.assertEqual(['a', 'added'], self.tick(service, 30))
        service._periodic_tasks = []
        self.assertEqual([], self.tick(service, 30))
        self.assertEqual(60, self.idle)
        self.assertEqual(2, len(Service._periodic_tasks))

    def test_rebinding_the_list_of_a_class(self):
        class Rebound(Service):
            pass

        before = Rebound(self.conf)
        Rebound._periodic_tasks = []
        self.assertEqual([], Rebound(self.conf)._periodic_tasks)
        self.assertEqual(['b'], self.tick(before))
        Rebound._periodic_tasks = [('a', Service.a)]
        self.assertEqual(['a'], self.tick(Rebound(self.conf), 10))
        del Rebound._periodic_tasks
        self.assertEqual(Service._periodic_tasks, Rebound._periodic_tasks)

    def test_patching_the_list_of_a_class(self):
        with mock.patch.object(Service, '_periodic_tasks', []):
            self.assertEqual([], self.tick(Service(self.conf)))
        self.assertEqual(['b'], self.tick(Service(self.conf)))

    def test_the_spacing_of_a_class(self):
        class Respaced(Service):
            pass

        Respaced._periodic_spacing['a'] = 2
        self.assertEqual({'a': 2, 'b': 20}, Respaced._periodic_spacing)
        self.assertEqual(['a', 'b'], self.tick(Respaced(self.conf), 2))
        inherited = type(Service)('Inherited', (Respaced,), {})
        self.assertEqual(2, inherited._periodic_spacing['a'])
        self.assertEqual(10, Service._periodic_spacing['a'])

    def test_adding_to_a_class(self):
        class Extended(Service):
            pass

        before = Extended(self.conf)
        self.assertIs(True, Extended._add_periodic_task(added))
        self.assertEqual(['b', 'added'], self.tick(Extended(self.conf)))
        self.assertEqual(['b'], self.tick(before))

        @task(enabled=False)
        def off(self, context):
            pass

        self.assertIs(False, Extended._add_periodic_task(off))
        self.assertNotIn('off', Extended._periodic_spacing)

    def test_decorating_anew_for_every_instance(self):
        def function(self, context):
            self.early.append(('function', context))

        services = []
        for spacing in (5, 7):
            service = Service(self.conf)
            service.add_periodic_task(task(spacing=spacing)(function))
            services.append(service)
        self.assertEqual(
            [5, 7], [s._periodic_spacing['function'] for s in services]
        )
        self.clock.advance(5)
        self.assertEqual(['b', 'function'], self.tick(services[0]))
        self.assertEqual(['b'], self.tick(services[1]))

    def test_replacing_a_method_after_it_was_collected(self):
        class Profiled(Service):
            @task(spacing=10)
            def c(self, context):
                self.early.append(('c', context))

        Profiled.c = lambda self, context: self.early.append(('x', context))
        self.assertEqual(['a', 'b', 'c'], self.tick(Profiled(self.conf), 10))
        below = type(Service)('Below', (Profiled,), {})
        self.assertEqual(['a', 'b', 'c'], self.tick(below(self.conf), 10))

    def test_mocking_init(self):
        class Manager(periodic_task.PeriodicTasks):
            pass

        with mock.patch(
            'oslo_periodic.periodic_task.PeriodicTasks.__init__',
            return_value=None,
        ) as init:
            Manager(self.conf)
        init.assert_called_once_with(self.conf)

    def test_function_attributes(self):
        @task(spacing=5, name='n', enabled=False, external_process_ok=True)
        def function(self, context):
            pass

        self.assertIs(True, function._periodic_task)
        self.assertEqual('n', function._periodic_name)
        self.assertEqual(5, function._periodic_spacing)
        self.assertIs(False, function._periodic_enabled)
        self.assertIs(True, function._periodic_external_ok)
        self.assertIs(False, function._periodic_immediate)
        self.assertEqual(1000, function._periodic_last_run)
        self.assertIsNone(added._periodic_last_run)

    def test_changed_function_attributes_count(self):
        @task(spacing=5)
        def function(self, context):
            pass

        function._periodic_spacing = 9
        service = Service(self.conf)
        service.add_periodic_task(function)
        self.assertEqual(9, service._periodic_spacing['function'])


class TestClasses(_TestCase):
    def test_other_metaclasses(self):
        class Meta(type):
            def __new__(mcs, name, bases, namespace, **kwargs):
                namespace['added_by'] = kwargs.get('by')
                return super().__new__(mcs, name, bases, namespace)

            def __init__(cls, name, bases, namespace, **kwargs):
                super().__init__(name, bases, namespace)

        mine = type(periodic_task.PeriodicTasks)
        for bases in ((Meta, mine), (mine, Meta)):
            meta = type('Mixed', bases, {})

            class Mixed(Service, metaclass=meta, by='x'):
                pass

            self.assertEqual('x', Mixed.added_by)
            self.assertEqual(['a', 'b'], self.tick(Mixed(self.conf), 10))

    def test_abstract_classes(self):
        mine = type(periodic_task.PeriodicTasks)
        for bases in ((abc.ABCMeta, mine), (mine, abc.ABCMeta)):
            meta = type('Mixed', bases, {})

            class Abstract(Service, metaclass=meta):
                @abc.abstractmethod
                def work(self):
                    pass

            class Concrete(Abstract):
                def work(self):
                    pass

            self.assertRaises(TypeError, Abstract, self.conf)
            self.assertEqual(['a', 'b'], self.tick(Concrete(self.conf), 10))

    def test_decorators_below_and_above(self):
        def other(function):
            @functools.wraps(function)
            def wrapper(self, context):
                self.early.append((f'around {function.__name__}', context))
                return function(self, context)

            return wrapper

        class Stacked(Service):
            @task(spacing=10)
            @other
            def below(self, context):
                self.early.append(('below', context))

            @other
            @task(spacing=10)
            def above(self, context):
                self.early.append(('above', context))

        self.assertEqual(
            ['a', 'b', 'around below', 'below', 'around above', 'above'],
            self.tick(Stacked(self.conf), 10),
        )

    def test_a_condition_in_the_class_body(self):
        class Conditional(Service):
            if 'x'.isalpha():

                @task(spacing=10)
                def c(self, context):
                    self.early.append(('c', context))

        self.assertEqual(
            ['a', 'b', 'c'], self.tick(Conditional(self.conf), 10)
        )

    def test_a_plain_conf(self):
        conf = PlainConf()
        service = Service(conf)
        self.assertIs(conf, service.conf)
        self.assertEqual(['b'], self.tick(service))
        stub = types.SimpleNamespace(register_opts=lambda opts: None)
        self.assertEqual(['b'], self.tick(Service(stub)))

    def test_callables_that_are_no_functions(self):
        class Callable:
            def __call__(self, service, context):
                service.early.append(('object', context))

        def three(label, service, context):
            service.early.append((label, context))

        decorate = functools.partial(task, run_immediately=True)
        service = Service(self.conf)
        service.add_periodic_task(decorate(name='object')(Callable()))
        service.add_periodic_task(
            decorate(name='partial')(functools.partial(three, 'partial'))
        )
        static = staticmethod(
            lambda service, context: three('s', service, context)
        )
        service.add_periodic_task(decorate(name='static')(static))
        self.assertEqual(['b', 'object', 'partial', 's'], self.tick(service))


class TestExternal(_TestCase):
    def test_the_option_is_read_at_each_tick(self):
        class External(Service):
            @task(spacing=10, external_process_ok=True)
            def ext(self, context):
                self.early.append(('ext', context))

        service = External(self.conf)
        self.conf.set_override('run_external_periodic_tasks', False)
        self.assertEqual(['a', 'b'], self.tick(service, 10))
        self.conf.set_override('run_external_periodic_tasks', True)
        self.assertEqual(['ext'], self.tick(service))
        self.conf.set_override('run_external_periodic_tasks', False)
        self.assertEqual(['a'], self.tick(service, 10))

    def test_what_is_held_does_not_count_for_idle(self):
        @task(spacing=3, external_process_ok=True)
        def ext(self, context):
            self.early.append(('ext', context))

        conf = PlainConf()
        service = Service(conf)
        service.add_periodic_task(ext)
        conf.run_external_periodic_tasks = False
        self.tick(service)
        self.assertEqual(10, self.idle)
        conf.run_external_periodic_tasks = True
        self.tick(service)
        self.assertEqual(3, self.idle)


class TestCopies(_TestCase):
    """Instances pickle and deep-copy, before and after ticks."""

    def copies(self, service):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            yield pickle.loads(pickle.dumps(service, protocol))
        yield copy.deepcopy(service)
        yield copy.deepcopy(pickle.loads(pickle.dumps(service)))

    def test_before_and_after_ticks(self):
        for cls, first in ((Service, 'a'), (Subclass, 'mine')):
            service = cls(PlainConf())
            service.add_periodic_task(added)
            for clone in self.copies(service):
                self.assertEqual(['b', 'added'], self.tick(clone))
            self.tick(service)
            for clone in self.copies(service):
                self.assertEqual([], self.tick(clone))
                self.assertEqual(10, self.idle)
                clone._periodic_last_run['a'] = None
                self.assertEqual([first], self.tick(clone))
            self.assertEqual([], self.tick(service))

    def test_a_copy_taken_by_a_task(self):
        clones = []

        class Copying(Service):
            @task(spacing=10)
            def clone(self, context):
                clones.append(copy.deepcopy(self))

        service = Copying(PlainConf())
        self.tick(service, 10)
        self.assertEqual([], self.tick(clones[0]))
        self.assertEqual(10, self.idle)

    def test_what_the_class_lists_travels_by_name(self):
        class Marker:
            """Pickles to nothing that can be imported."""

        with mock.patch.object(Service, 'a', Marker()):
            data = pickle.dumps(Service(PlainConf()))
        self.assertEqual(['a', 'b'], self.tick(pickle.loads(data), 10))

    def test_a_class_that_lost_a_task(self):
        data = pickle.dumps(Service(PlainConf()))
        with mock.patch.object(Service, '_periodic_tasks', []):
            exc = self.assertRaises(LookupError, pickle.loads, data)
        self.assertIn("'a'", str(exc))

    def test_held_tasks_stay_held(self):
        conf = PlainConf()
        conf.run_external_periodic_tasks = False
        service = Service(conf)
        service.add_periodic_task(external)
        self.tick(service)
        for clone in self.copies(service):
            self.assertEqual([], self.tick(clone))
            clone.conf.run_external_periodic_tasks = True
            self.assertEqual(['external'], self.tick(clone))


@task(spacing=30, run_immediately=True, external_process_ok=True)
def external(self, context):
    self.early.append(('external', context))


class TestLogging(_TestCase):
    def test_the_wording(self):
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))

        class Failing(Service):
            @task(spacing=10)
            def fail(self, context):
                raise ValueError('on purpose')

            @task(spacing=-1)
            def negative(self, context):
                pass

            @task(enabled=False)
            def disabled(self, context):
                pass

        self.tick(Failing(self.conf), 10)
        for line in (
            'Running periodic task Failing.a',
            'Running periodic task Failing.fail',
            'Error during Failing.fail',
            'Skipping periodic task negative because its interval is negative',
            'Skipping periodic task disabled because it is disabled',
        ):
            self.assertIn(line + '\n', log.output)
