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


"""What differs from oslo.service on purpose: design.md's table, row by row."""

import logging
import threading
from unittest import mock

import fixtures

from oslo_periodic import fixture
from oslo_periodic import periodic_task
from tests import base

task = periodic_task.periodic_task


class _TestCase(base.BackendTestCase):
    def setUp(self):
        super().setUp()
        self.clock = self.useFixture(fixture.ClockFixture())
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        self.ran = []

    def recorder(self, label, **kwargs):
        """Make a task that records the label, which is its name, too."""

        def function(tasks, context):
            self.ran.append(label)

        function.__name__ = label
        kwargs.setdefault('spacing', 10)
        return task(**kwargs)(function)

    def plain(self, name):
        return lambda tasks, context: self.ran.append(name)

    def make(self, **namespace):
        return self.subclass(periodic_task.PeriodicTasks, **namespace)

    def subclass(self, *bases, **namespace):
        return type(bases[0])('Tasks', bases, namespace)

    def tick(self, tasks, seconds=0, **kwargs):
        """Move the clock on, tick, and return what ran."""
        self.clock.advance(seconds)
        self.ran.clear()
        self.idle = tasks.run_periodic_tasks(None, **kwargs)
        return list(self.ran)


class TestOverrides(_TestCase):
    """A subclass overrides a task."""

    def setUp(self):
        super().setUp()
        self.parent = self.make(
            a=self.recorder('a'), b=self.recorder('b'), c=self.recorder('c')
        )

    def ticked(self, **namespace):
        return self.tick(
            self.subclass(self.parent, **namespace)(self.conf), 10
        )

    def test_takes_the_place_of_the_parents(self):
        override = self.recorder('mine', name='b')
        self.assertEqual(['a', 'mine', 'c'], self.ticked(b=override))

    def test_may_have_another_name_and_spacing(self):
        cls = self.subclass(self.parent, b=self.recorder('mine', spacing=5))
        tasks = cls(self.conf)
        self.assertEqual(
            ['a', 'mine', 'c'], [n for n, _ in cls._periodic_tasks]
        )
        self.assertEqual(['mine'], self.tick(tasks, 5))

    def test_disabled_removes_it(self):
        override = self.recorder('b', enabled=False)
        self.assertEqual(['a', 'c'], self.ticked(b=override))
        self.assertIn(
            'Skipping periodic task b because it is disabled', self.log.output
        )

    def test_negative_spacing_removes_it(self):
        override = self.recorder('b', spacing=-1)
        self.assertEqual(['a', 'c'], self.ticked(b=override))
        self.assertIn(
            'Skipping periodic task b because its interval is negative',
            self.log.output,
        )

    def test_undecorated_runs_on_the_parents_schedule(self):
        cls = self.subclass(self.parent, b=self.plain('mine'))
        self.assertEqual(10, cls(self.conf)._periodic_spacing['b'])
        self.assertEqual(['a', 'mine', 'c'], self.tick(cls(self.conf), 10))

    def test_undecorated_is_inherited(self):
        cls = self.subclass(self.parent, b=self.plain('mine'))
        cls = self.subclass(cls)
        self.assertEqual(['a', 'mine', 'c'], self.tick(cls(self.conf), 10))

    def test_undecorated_is_overridden(self):
        cls = self.subclass(self.parent, b=self.plain('mine'))
        again = self.subclass(cls, b=self.plain('again'))
        self.assertEqual(['a', 'again', 'c'], self.tick(again(self.conf), 10))
        gone = self.subclass(cls, b=None)
        self.assertEqual(['a', 'c'], self.tick(gone(self.conf), 10))

    def test_none_removes_it(self):
        self.assertEqual(['a', 'c'], self.ticked(b=None))

    def test_the_parent_keeps_its_own(self):
        self.ticked(a=None, b=self.plain('mine'), c=self.recorder('other'))
        self.assertEqual(
            ['a', 'b', 'c'], self.tick(self.parent(self.conf), 10)
        )

    def test_enabling_what_the_parent_disables(self):
        parent = self.make(a=self.recorder('a', enabled=False))
        cls = self.subclass(parent, a=self.recorder('a'))
        self.assertEqual(['a'], self.tick(cls(self.conf), 10))


class TestBases(_TestCase):
    """Two bases, and mixins."""

    def ticked(self, *bases, **namespace):
        return self.tick(self.subclass(*bases, **namespace)(self.conf), 10)

    def test_two_bases_with_tasks(self):
        one, two = (
            self.make(a=self.recorder('a')),
            self.make(b=self.recorder('b')),
        )
        self.assertEqual(
            ['a', 'b', 'c'], self.ticked(one, two, c=self.recorder('c'))
        )

    def test_a_plain_mixin(self):
        mixin = type('Mixin', (), {'m': self.recorder('m')})
        base_ = self.make(a=self.recorder('a'))
        self.assertEqual(['a', 'm'], self.ticked(base_, mixin))
        cls = type(base_)('Tasks', (mixin, base_), {})
        self.assertEqual(['m', 'a'], self.tick(cls(self.conf), 10))

    def test_the_mro_decides_between_bases(self):
        mixin = type('Mixin', (), {'a': self.recorder('mixin', name='a')})
        parent = self.make(a=self.recorder('a'))
        cls = type(parent)('Tasks', (mixin, parent), {})
        self.assertEqual(['mixin'], self.tick(cls(self.conf), 10))

    def test_a_diamond(self):
        top = self.make(t=self.recorder('t'), u=self.recorder('u'))
        left = self.subclass(top, a=self.recorder('a'))
        right = self.subclass(
            top, b=self.recorder('b'), t=self.recorder('right', name='t')
        )
        self.assertEqual(['right', 'u', 'a', 'b'], self.ticked(left, right))


class TestCollecting(_TestCase):
    """What is a task, and what it is called."""

    def test_a_mock_is_no_task(self):
        cls = self.make(answers_everything=mock.MagicMock())
        self.assertEqual([], cls._periodic_tasks)
        self.assertEqual([], self.tick(cls(self.conf)))

    def test_spellings_of_the_decorator(self):
        @task()
        def empty(tasks, context):
            self.ran.append('empty')

        @task(name=None, spacing=20)
        def unnamed(tasks, context):
            self.ran.append('unnamed')

        tasks = self.make(empty=empty, unnamed=unnamed)(self.conf)
        self.assertEqual(
            {'empty': 60.0, 'unnamed': 20}, tasks._periodic_spacing
        )
        self.assertEqual(['empty', 'unnamed'], self.tick(tasks, 60))

    def test_a_reused_decorator(self):
        every_10 = task(spacing=10)

        def a(tasks, context):
            self.ran.append('a')

        def b(tasks, context):
            self.ran.append('b')

        cls = self.make(a=every_10(a), b=every_10(b))
        self.assertEqual({'a': 10, 'b': 10}, cls._periodic_spacing)
        self.assertEqual(['a', 'b'], self.tick(cls(self.conf), 10))

    def test_one_name_for_two_tasks(self):
        exc = self.assertRaises(
            periodic_task.InvalidPeriodicTaskArg,
            self.make,
            a=self.recorder('one', name='same'),
            b=self.recorder('two', name='same'),
        )
        self.assertIn("named 'same'", str(exc))
        self.assertEqual(2, str(exc).count('test_differences.py'))

    def test_one_task_under_two_attributes(self):
        function = self.recorder('a')
        cls = self.make(a=function, alias=function)
        self.assertEqual(['a'], self.tick(cls(self.conf), 10))

    def test_add_periodic_task_is_for_one_instance(self):
        cls = self.make(a=self.recorder('a'))
        before, tasks, after = cls(self.conf), cls(self.conf), None
        tasks.add_periodic_task(self.recorder('added'))
        after = cls(self.conf)
        self.assertEqual(['a', 'added'], self.tick(tasks, 10))
        self.assertEqual(['a'], self.tick(before))
        self.assertEqual(['a'], self.tick(after))

    def test_adding_a_name_that_is_taken(self):
        tasks = self.make(a=self.recorder('a'))(self.conf)
        exc = self.assertRaises(
            periodic_task.InvalidPeriodicTaskArg,
            tasks.add_periodic_task,
            self.recorder('other', name='a'),
        )
        self.assertIn("'a'", str(exc))
        self.assertEqual(['a'], self.tick(tasks, 10))


class TestSchedule(_TestCase):
    """When tasks run."""

    def test_first_run_counts_from_the_instance(self):
        cls = self.make(a=self.recorder('a'))
        self.clock.advance(7)
        tasks = cls(self.conf)
        self.assertEqual([], self.tick(tasks, 3))
        self.assertEqual(7, self.idle)
        self.assertEqual(['a'], self.tick(tasks, 7))

    def test_idle_is_worked_out_after_the_tasks(self):
        @task(spacing=10)
        def slow(tasks, context):
            self.clock.advance(4)

        tasks = self.make(slow=slow, b=self.recorder('b', spacing=12))(
            self.conf
        )
        self.tick(tasks, 10)
        # It is 14 now: b has run in this tick, as its turn came at 14.
        self.assertEqual(['b'], self.ran)
        self.assertEqual(6, self.idle)

    def test_idle_is_never_negative_nor_over_the_interval(self):
        @task(spacing=1)
        def a(tasks, context):
            tasks._periodic_last_run['a'] = None

        tasks = self.make(a=a)(self.conf)
        self.tick(tasks, 1)
        self.assertEqual(0, self.idle)
        tasks = self.make(b=self.recorder('b', spacing=3600))(self.conf)
        self.tick(tasks)
        self.assertEqual(60, self.idle)

    def slow(self, *durations):
        left = list(durations)

        @task(spacing=10)
        def slow(tasks, context):
            self.ran.append(self.clock.time - 1000)
            self.clock.advance(left.pop(0))

        return self.make(slow=slow)(self.conf)

    def test_an_overrun_continues_on_the_grid(self):
        tasks = self.slow(25, 0)
        self.assertEqual([10], self.tick(tasks, 10))
        self.assertEqual(5, self.idle)  # It is 35, and 40 is next.
        self.assertEqual([], self.tick(tasks, 4))
        self.assertEqual([40], self.tick(tasks, 1))
        warnings = [
            line
            for line in self.log.output.splitlines()
            if 'missed runs: 2' in line
        ]
        self.assertEqual(1, len(warnings), self.log.output)
        self.assertIn('Tasks.slow ran for 25.000 seconds', warnings[0])
        self.assertEqual(
            {'overlap': 2}, tasks.periodic_state()['slow'].skipped
        )

    def test_a_run_as_long_as_its_spacing_is_no_overrun(self):
        tasks = self.slow(10, 0)
        self.tick(tasks, 10)
        self.assertEqual(0, self.idle)
        self.assertEqual([20], self.tick(tasks))
        self.assertNotIn('missed', self.log.output)

    def test_a_late_start_is_no_overrun(self):
        tasks = self.slow(2, 0)
        self.assertEqual([19], self.tick(tasks, 19))
        self.assertEqual([21], self.tick(tasks))
        self.assertNotIn('missed', self.log.output)

    def test_setting_the_last_run_outweighs_an_overrun(self):
        @task(spacing=10)
        def slow(tasks, context):
            self.clock.advance(25)
            tasks._periodic_last_run['slow'] = None

        tasks = self.make(slow=slow)(self.conf)
        self.tick(tasks, 10)
        self.assertEqual(0, self.idle)


class TestExceptions(_TestCase):
    """What an exception does to the tick."""

    def failing(self, exc):
        def fail(tasks, context):
            raise exc

        return self.make(
            a=task(spacing=10, name='a')(fail), b=self.recorder('b')
        )(self.conf)

    def check_ends_the_tick(self, kind, raise_on_error):
        tasks = self.failing(kind('on purpose'))
        self.clock.advance(10)
        self.assertRaises(kind, tasks.run_periodic_tasks, None, raise_on_error)
        self.assertEqual([], self.ran)
        self.assertIn('Error during Tasks.a', self.log.output)
        # Nothing is lost: what the tick did not reach is due in the next.
        self.assertEqual(['b'], self.tick(tasks))

    def test_keyboard_interrupt(self):
        self.check_ends_the_tick(KeyboardInterrupt, False)

    def test_keyboard_interrupt_with_raise_on_error(self):
        self.check_ends_the_tick(KeyboardInterrupt, True)

    def test_system_exit(self):
        self.check_ends_the_tick(SystemExit, False)

    def test_greenlet_exit(self):
        import greenlet

        self.check_ends_the_tick(greenlet.GreenletExit, False)

    def check_is_logged(self, exc):
        tasks = self.failing(exc)
        self.assertEqual(['b'], self.tick(tasks, 10))
        self.assertEqual(1, self.log.output.count('Error during Tasks.a'))
        self.assertEqual(1, self.log.output.count('Traceback'))
        self.assertEqual(1, tasks.periodic_state()['a'].failures)
        self.tick(tasks, 10)
        self.assertEqual(2, tasks.periodic_state()['a'].failures)

    def test_any_other_exception(self):
        self.check_is_logged(ValueError('on purpose'))

    def test_a_base_exception(self):
        class Strange(BaseException):
            pass

        self.check_is_logged(Strange('on purpose'))

    def test_timeout_of_eventlet(self):
        import eventlet  # noqa: H905

        # Made, and not armed.
        self.check_is_logged(eventlet.Timeout(None))

    def test_raise_on_error(self):
        tasks = self.failing(ValueError('on purpose'))
        self.clock.advance(10)
        self.assertRaises(ValueError, tasks.run_periodic_tasks, None, True)
        self.assertNotIn('Error during', self.log.output)
        self.assertEqual(['b'], self.tick(tasks))


class TestConcurrentTicks(_TestCase):
    """A task is never running twice."""

    def test_a_task_that_ticks_its_own_instance(self):
        @task(spacing=10)
        def a(tasks, context):
            self.ran.append('a')
            tasks.run_periodic_tasks(context)
            self.ran.append('a ends')

        tasks = self.make(a=a, b=self.recorder('b'))(self.conf)
        self.assertEqual(['a', 'b', 'a ends'], self.tick(tasks, 10))
        self.assertEqual([], self.tick(tasks))

    def test_two_native_threads(self):
        """Every due task runs once, however many threads tick."""
        lock = threading.Lock()
        running, twice = set(), []

        def make(name):
            def function(tasks, context):
                with lock:
                    if name in running:
                        twice.append(name)
                    running.add(name)
                    self.ran.append(name)
                barrier_of[name].wait(0.001)
                with lock:
                    running.discard(name)

            return task(spacing=10, name=name)(function)

        names = [f't{i}' for i in range(50)]
        barrier_of = {name: threading.Event() for name in names}
        tasks = self.make(**{name: make(name) for name in names})(self.conf)
        self.clock.advance(10)
        threads = [
            threading.Thread(target=tasks.run_periodic_tasks, args=(None,))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(base.TIMEOUT)
        self.assertEqual(sorted(names), sorted(self.ran))
        self.assertEqual([], twice)


class TestArguments(base.TestCase):
    """Wrong arguments are refused when the decorator is used."""

    def assert_refused(self, *texts, call=None, **kwargs):
        def function(tasks, context):
            pass

        call = call or (lambda: task(**kwargs)(function))
        exc = self.assertRaises(periodic_task.InvalidPeriodicTaskArg, call)
        for text in texts:
            self.assertIn(text, str(exc))

    def test_positional(self):
        self.assert_refused('30', 'spacing=30', call=lambda: task(30))
        self.assert_refused("'x'", call=lambda: task('x'))
        self.assert_refused('30', call=lambda: task(len, 30))

    def test_async(self):
        async def sync(tasks, context):
            pass

        async def generate(tasks, context):
            yield

        self.assert_refused('sync', 'async', call=lambda: task(sync))
        self.assert_refused('async', call=lambda: task(generate))
        self.assert_refused('async', call=lambda: task(staticmethod(sync)))

    def test_unknown(self):
        self.assert_refused(
            'run_immediatly', "'run_immediately'", run_immediatly=True
        )
        self.assert_refused('colour', 'spacing', colour='red')

    def test_ticks_between_runs(self):
        self.assert_refused('ticks_between_runs', ticks_between_runs=1)

    def test_spacing(self):
        for spacing in (
            float('nan'),
            float('inf'),
            float('-inf'),
            '10',
            None,
            [],
            1j,
            True,
        ):
            self.assert_refused('function', repr(spacing), spacing=spacing)

    def test_names(self):
        for name in ('', 5, b'x'):
            self.assert_refused('needs a name', name=name)

    def test_what_takes_no_attributes(self):
        self.assert_refused('wrap it', call=lambda: task(name='x')(len))
        self.assert_refused('wrap it', call=lambda: task(self.assert_refused))

    def test_classmethod(self):
        self.assert_refused(
            'plain function', call=lambda: task(classmethod(len))
        )

    def test_adding_what_was_not_decorated(self):
        tasks = periodic_task.PeriodicTasks(self.conf)
        for function in (len, mock.MagicMock(), None):
            self.assert_refused(
                'decorate it',
                call=lambda function=function: tasks.add_periodic_task(
                    function
                ),
            )
