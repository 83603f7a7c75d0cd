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

"""What the error says of an instance or a context that does not pickle."""

from oslo_periodic import exceptions
from oslo_periodic.process import _payload
from tests import base


def unpicklable():
    """Make an object that cannot be pickled, patched or not."""
    return (item for item in ())


class Holder:
    """Has the attributes that it is made with."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ('culprit',)


class TestCulprits(base.TestCase):
    """The error names the innermost value that does not pickle."""

    def refuse(self, instance, context=None):
        return self.assertRaises(
            exceptions.NotPicklableError,
            _payload.dump,
            None,
            instance,
            context,
        )

    def check(
        self, path, instance, context=None, type_name='builtins.generator'
    ):
        text = str(self.refuse(instance, context))
        self.assertTrue(text.startswith(f'{path} cannot be pickled'), text)
        self.assertIn(f'it is a {type_name} (', text)

    def test_paths(self):
        culprit = unpicklable()
        for path, value in (
            ('self.a', culprit),
            ('self.a[2]', [1, 2, culprit]),
            ('self.a[0][1]', ((0, culprit),)),
            ("self.a['key']", {'other': 1, 'key': culprit}),
            ('self.a{...}', {1, culprit}),
            ('self.a{...}', frozenset([culprit])),
            ('self.a.b.c', Holder(b=Holder(c=culprit))),
            ("self.a['k'][0].b", {'k': [Holder(b=culprit)]}),
        ):
            self.check(path, Holder(fine=1, a=value))

    def test_slots(self):
        slots = Slots()
        slots.culprit = unpicklable()
        self.check('self.a.culprit', Holder(a=slots))

    def test_the_context(self):
        self.check("context['k']", Holder(a=1), context={'k': unpicklable()})

    def test_the_instance_comes_first(self):
        culprit = unpicklable()
        self.check('self.a', Holder(a=culprit), context=culprit)

    def test_a_key(self):
        """Keys are not looked into: the dict itself is the culprit."""
        self.check(
            'self.a', Holder(a={unpicklable(): 1}), None, 'builtins.dict'
        )

    def test_a_cycle(self):
        """The search has an end, and so does the path."""
        holder = Holder(culprit=unpicklable())
        holder.__dict__ = {'self': holder, **holder.__dict__}
        text = str(self.refuse(holder))
        self.assertTrue(text.startswith('self.self.'), text)
        self.assertLess(len(text.partition(' ')[0]), 100)

    def test_the_cause(self):
        error = self.refuse(unpicklable())
        self.assertIsInstance(error.__cause__, TypeError)
