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

"""The tasks of a class, against the rules of Python's own look-up."""

from hypothesis import strategies

from oslo_periodic.declare import _collection
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from tests import base

ATTRIBUTES = ('one', 'two')
KINDS = strategies.sampled_from(['task', 'plain', 'removed', 'absent'])
#: For each class: whether it is a plain mixin, bases, as numbers of earlier
#: ones, and what it has as each attribute.
HIERARCHIES = strategies.lists(
    strategies.tuples(
        strategies.booleans(),
        strategies.lists(strategies.integers(0, 4), unique=True, max_size=3),
        strategies.tuples(*(KINDS for _ in ATTRIBUTES)),
    ),
    min_size=1,
    max_size=6,
)


def task(spacing=10, name=None, **arguments):
    decorate = periodic_task.periodic_task(
        spacing=spacing, name=name, **arguments
    )
    return decorate(lambda tasks, context: None)


def plain(tasks, context):
    """Override a task without being one."""


def make(name, *bases, **attributes):
    """Make a class below PeriodicTasks."""
    bases = bases or (periodic_task.PeriodicTasks,)
    return type(periodic_task.PeriodicTasks)(name, bases, attributes)


def make_mixed(name, is_mixin, bases, attributes):
    """Make a class of any bases, or a plain mixin of the plain ones."""
    below = [b for b in bases if issubclass(b, periodic_task.PeriodicTasks)]
    if is_mixin:
        bases = [base for base in bases if base not in below]
        return type(name, tuple(bases), attributes)
    if not below:
        bases = [*bases, periodic_task.PeriodicTasks]
    return make(name, *bases, **attributes)


def functions(cls):
    return dict(cls._periodic_tasks)


class _Model:
    """What each class of a hierarchy has, from first principles."""

    def definition(self, cls, attribute):
        for ancestor in cls.__mro__:
            if attribute in vars(ancestor):
                return vars(ancestor)[attribute]
        return None

    def task(self, cls, attribute):
        """Return the function and the spacing of a task, or None."""
        value = self.definition(cls, attribute)
        if value is None:
            return None
        if hasattr(value, '_periodic_task'):
            return value, value._periodic_spacing
        for parent in cls.__bases__:
            inherited = self.task(parent, attribute)
            if inherited is not None:
                return value, inherited[1]
        return None


class TestHierarchies(base.TestCase):
    @base.property_test(HIERARCHIES, max_examples=500)
    def test_against_a_model(self, hierarchy):
        model = _Model()
        classes = []
        for number, (is_mixin, bases, kinds) in enumerate(hierarchy):
            bases = [classes[base] for base in bases if base < number]
            # A spacing of its own tells every task from the others.
            body = {
                attribute: {
                    'task': task(number + 1, attribute),
                    'plain': lambda tasks, context: None,
                    'removed': None,
                }[kind]
                for attribute, kind in zip(ATTRIBUTES, kinds, strict=True)
                if kind != 'absent'
            }
            try:
                cls = make_mixed(f'C{number}', is_mixin, bases, body)
            except TypeError:
                return  # There is no such MRO.
            classes.append(cls)
            if is_mixin:
                continue
            expected = {
                attribute: found
                for attribute in ATTRIBUTES
                if (found := model.task(cls, attribute)) is not None
            }
            self.assertEqual(
                {name: function for name, (function, _) in expected.items()},
                functions(cls),
            )
            self.assertEqual(
                {name: spacing for name, (_, spacing) in expected.items()},
                cls._periodic_spacing,
            )

    def test_order(self):
        """Bases come first, and an override keeps the place."""
        first = make('First', one=task(name='one'), two=task(name='two'))
        second = make('Second', three=task(name='three'))
        cls = make(
            'Both', first, second, four=task(name='four'), one=task(name='new')
        )
        self.assertEqual(
            ['new', 'two', 'three', 'four'],
            [name for name, _function in cls._periodic_tasks],
        )

    def test_diamond(self):
        root = make('Root', one=task(1, 'one'))
        left = make('Left', root)
        right = make('Right', root, one=task(2, 'one'))
        cls = make('Bottom', left, right)
        self.assertIs(vars(right)['one'], functions(cls)['one'])
        self.assertEqual({'one': 2}, cls._periodic_spacing)

    def test_plain_mixin(self):
        class Mixin:
            one = task(3, 'one')

        for bases in (
            (Mixin, periodic_task.PeriodicTasks),
            (periodic_task.PeriodicTasks, Mixin),
        ):
            self.assertEqual(['one'], list(functions(make('Cls', *bases))))

    def test_mixin_overrides(self):
        class Mixin:
            def one(self, context):
                pass

        base_class = make('Base', one=task(5, 'one'))
        cls = make('Cls', Mixin, base_class)
        self.assertIs(Mixin.one, functions(cls)['one'])
        self.assertEqual({'one': 5}, cls._periodic_spacing)
        cls = make('Cls', base_class, Mixin)
        self.assertIs(vars(base_class)['one'], functions(cls)['one'])

    def test_the_nearest_mixin_decides(self):
        class First:
            one = task(1, 'one')

        class Second(First):
            one = task(2, 'one')

        cls = make('Cls', Second, periodic_task.PeriodicTasks, one=plain)
        self.assertEqual({'one': plain}, functions(cls))
        self.assertEqual({'one': 2}, cls._periodic_spacing)

    def test_a_mixin_removes_the_task_of_another(self):
        class First:
            one = task(1, 'one')

        class Second(First):
            one = None

        cls = make('Cls', Second, periodic_task.PeriodicTasks, one=plain)
        self.assertEqual({}, functions(cls))

    def test_a_mixin_overrides_the_task_of_another(self):
        class First:
            one = task(1, 'one')

        class Second(First):
            def one(self, context):
                pass

        cls = make('Cls', Second, periodic_task.PeriodicTasks)
        self.assertEqual({'one': Second.one}, functions(cls))
        self.assertEqual({'one': 1}, cls._periodic_spacing)

    def test_mixins_keep_the_order(self):
        class First:
            one = task(1, 'one')
            two = task(2, 'two')

        class Second(First):
            two = task(3, 'two')
            three = task(4, 'three')
            one = task(5, 'one')

        cls = make('Cls', Second, periodic_task.PeriodicTasks)
        self.assertEqual(
            {'one': 5, 'two': 3, 'three': 4}, cls._periodic_spacing
        )
        self.assertEqual(['one', 'two', 'three'], list(functions(cls)))

    def test_order_of_mixins(self):
        """It is that of the bases, however deep."""

        class First:
            one = task(1, 'one')

        class Second:
            two = task(2, 'two')

        class Both(First, Second):
            three = task(3, 'three')

        for bases in ((First, Second), (Both,)):
            cls = make('Cls', *bases, periodic_task.PeriodicTasks)
            self.assertEqual(['one', 'two'], list(functions(cls))[:2])

    def test_the_parent_keeps_its_own(self):
        parent = make('Parent', one=task(1, 'one'))
        make('Child', parent, one=None, two=task(name='two'))
        self.assertEqual(['one'], list(functions(parent)))


class TestDisabled(base.TestCase):
    def test_a_disabled_override_removes_the_task(self):
        parent = make('Parent', one=task(1, 'one'))
        for override in (task(-1, 'one'), task(1, 'one', enabled=False)):
            cls = make('Child', parent, one=override)
            self.assertEqual({}, functions(cls))

    def test_an_override_enables(self):
        for disabled in (task(-1, 'one'), task(1, 'one', enabled=False)):
            parent = make('Parent', one=disabled)
            self.assertEqual({}, functions(parent))
            cls = make('Child', parent, one=task(4, 'one'))
            self.assertEqual({'one': 4}, cls._periodic_spacing)

    def test_what_operators_may_enable(self):
        cls = make(
            'Cls',
            one=task(name='one'),
            two=task(-1, 'two'),
            three=task(name='three', enabled=False),
        )
        collection = _collection.collect(cls)
        self.assertEqual(
            {'two', 'three'}, {t.name for t in collection.disabled(cls)}
        )


class TestRefused(base.TestCase):
    def refuse(self, *bases, **attributes):
        error = self.assertRaises(
            exceptions.InvalidPeriodicTaskArg,
            make,
            'Cls',
            *bases,
            **attributes,
        )
        return str(error)

    def test_two_tasks_of_one_name(self):
        text = self.refuse(one=task(name='same'), two=task(name='same'))
        self.assertIn("Two periodic tasks are named 'same'", text)

    def test_two_tasks_of_one_name_in_two_bases(self):
        text = self.refuse(
            make('First', one=task(name='same')),
            make('Second', two=task(name='same')),
        )
        self.assertIn("'same'", text)

    def test_one_function_under_two_attributes(self):
        shared = task(name='same')
        cls = make('Cls', one=shared, two=shared)
        self.assertEqual({'same': shared}, functions(cls))

    def test_an_override_that_cannot_be_called(self):
        parent = make('Parent', one=task(name='one'))
        self.assertIn('Cls.one', self.refuse(parent, one=3))

    def test_a_mixin_that_cannot_be_called(self):
        class First:
            one = task(1, 'one')

        class Second(First):
            one = 3

        bases = Second, periodic_task.PeriodicTasks
        self.assertIn('Second.one', self.refuse(*bases))
        # Unless the class overrides that.
        cls = make('Cls', *bases, one=task(2, 'one'))
        self.assertEqual({'one': 2}, cls._periodic_spacing)

    def test_an_override_that_nothing_declares(self):
        self.assertEqual({}, functions(make('Cls', one=plain, two=3)))
