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


"""The rules of the contributor guide about imports, reaches and sizes.

The imports are read from the source: those at the top of a module, those
inside functions, and those under TYPE_CHECKING.
"""

import ast
import collections
import graphlib
import pathlib
import sys

import oslo_periodic
from tests import base

PACKAGE = pathlib.Path(oslo_periodic.__file__).parent

#: Below the skins, the rooms that each room imports from; the modules of one
#: room import each other, without a cycle.
ROOMS = {
    '_log': set(),
    'exceptions': set(),
    'status': set(),
    'backends.base': {'exceptions', 'backends._process_pool'},
    'backends._process_pool': set(),
    'backends._at_exit': set(),
    'backends._interpreter': set(),
    'backends._threading': {
        'backends._at_exit',
        'backends.base',
        'exceptions',
        'process',
    },
    'backends._eventlet': {'backends.base'},
    'backends': {
        '_log',
        'backends._at_exit',
        'backends._interpreter',
        'backends.base',
        'exceptions',
    },
    'declare': {'_log', 'exceptions', 'status'},
    'core': {'_log', 'declare', 'status'},
    'opts': {'backends', 'declare', 'status'},
    'config': {
        '_log',
        'backends',
        'backends.base',
        'core',
        'declare',
        'exceptions',
        'opts',
        'status',
    },
    'compat': {'core', 'declare', 'exceptions'},
    'process': {
        '_log',
        'backends._interpreter',
        'backends.base',
        'exceptions',
    },
    'drivers': {
        '_log',
        'backends.base',
        'core',
        'declare',
        'exceptions',
        'process',
        'status',
    },
    'operate': {
        '_log',
        'backends.base',
        'core',
        'declare',
        'drivers',
        'exceptions',
        'status',
    },
    'periodic_task': {
        'backends',
        'backends.base',
        'compat',
        'config',
        'core',
        'declare',
        'drivers',
        'exceptions',
        'opts',
        'status',
    },
    'runner': {
        '_log',
        'backends',
        'backends.base',
        'config',
        'core',
        'drivers',
        'exceptions',
        'operate',
        'opts',
        'status',
    },
    'fixture': {
        'backends',
        'backends.base',
        'core',
        'periodic_task',
        'status',
    },
    '_conformance': {
        'backends',
        'backends.base',
        'exceptions',
        'periodic_task',
        'process',
        'runner',
    },
    'testing': {'_conformance', 'backends.base'},
    '__main__': {'cmd'},
    'cmd': {
        'backends',
        'backends.base',
        'config',
        'declare',
        'exceptions',
        'opts',
        'periodic_task',
        'runner',
    },
}
#: The modules that take the task set out of an instance.
UNWRAPPING = {'oslo_periodic.periodic_task', 'oslo_periodic.runner'}
#: Modules that are one state machine each, as they say themselves.
STATE_MACHINES = {
    'oslo_periodic.core._schedule',
    'oslo_periodic.process._tick',
}
MAX_LINES = 300
MAX_FUNCTION_LINES = 40


def _modules():
    for path in PACKAGE.rglob('*.py'):
        parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
        if parts[-1] == '__init__':
            parts = parts[:-1]
        yield '.'.join(parts), path.read_text()


class TestArchitecture(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sources = dict(_modules())
        cls.trees = {
            name: ast.parse(source) for name, source in cls.sources.items()
        }

    def imports(self, module):
        """Return everything that a module imports, anywhere in it."""
        found = set()
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                self.assertEqual(0, node.level, f'{module}: relative import')
                for alias in node.names:
                    inner = f'{node.module}.{alias.name}'
                    found.add(inner if inner in self.trees else node.module)
        return found

    def own_imports(self, module):
        return {
            name
            for name in self.imports(module) - {module}
            if name in self.trees
        }

    def room(self, module):
        name = module.removeprefix('oslo_periodic').removeprefix('.')
        while name and name not in ROOMS:
            name = name.rpartition('.')[0]
        return name

    def test_no_cycle(self):
        graph = {module: self.own_imports(module) for module in self.trees}
        self.assertIn(
            'oslo_periodic.core._task_set',
            graph['oslo_periodic.periodic_task'],
        )
        try:
            list(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as exc:
            self.fail(f'These modules import each other: {exc.args[1]}')

    def test_every_module_has_a_room(self):
        homeless = [module for module in self.trees if not self.room(module)]
        self.assertEqual(['oslo_periodic'], homeless)

    def test_imports_go_downwards(self):
        wrong = [
            f'{module} imports {imported}'
            for module in sorted(self.trees)
            for imported in sorted(self.own_imports(module))
            if self.room(imported)
            not in ROOMS.get(self.room(module), set()) | {self.room(module)}
        ]
        self.assertEqual([], wrong)

    def test_rooms_are_in_layers(self):
        """The table itself has no cycle, so no room can need an upper one."""
        list(graphlib.TopologicalSorter(ROOMS).static_order())

    def test_what_each_room_knows_of_foreign_packages(self):
        allowed = collections.defaultdict(set)
        allowed['backends'] = {'stevedore'}
        allowed['backends._eventlet'] = {'eventlet'}
        allowed['fixture'] = {'fixtures'}
        allowed['cmd'] = {'cliff', 'oslo_config', 'oslo_log'}
        for room in (
            'config',
            'opts',
            'periodic_task',
            'process',
            '_conformance',
        ):
            allowed[room] = {'oslo_config'}
        for module in self.trees:
            foreign = {
                name.partition('.')[0] for name in self.imports(module)
            } - {'oslo_periodic', *sys.stdlib_module_names}
            self.assertEqual(
                set(), foreign - allowed[self.room(module)], module
            )

    def test_who_takes_the_task_set_out_of_an_instance(self):
        found = {
            module
            for module, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr == '_periodic_state'
            or isinstance(node, ast.Constant)
            and node.value == '_periodic_state'
        }
        self.assertEqual(UNWRAPPING, found)

    def test_who_touches_the_columns_of_the_schedule(self):
        """Private attributes of other modules' objects are not reached for.

        A module may use what it defines itself.
        """
        schedule = self.trees['oslo_periodic.core._schedule']
        private = {
            node.attr
            for node in ast.walk(schedule)
            if isinstance(node, ast.Attribute)
            and node.attr.startswith('_')
            and not node.attr.startswith('__')
            and isinstance(node.value, ast.Name)
            and node.value.id == 'self'
        }
        self.assertIn('_spacing', private)
        wrong = [
            f'{module}:{node.lineno} {ast.unparse(node)}'
            for module, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in private
            and 'schedule' in ast.unparse(node.value)
        ]
        self.assertEqual([], wrong)

    def test_sizes_of_modules(self):
        sizes = {
            module: len(source.splitlines())
            for module, source in self.sources.items()
        }
        large = {
            module: lines
            for module, lines in sizes.items()
            if lines > MAX_LINES and module not in STATE_MACHINES
        }
        self.assertEqual({}, large)
        for module in STATE_MACHINES:
            self.assertIn('state machine', self.sources[module])

    def test_sizes_of_functions(self):
        large = {}
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                if not isinstance(node, ast.FunctionDef):
                    continue
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node):
                    docstring = node.body[0]
                    lines -= docstring.end_lineno - docstring.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    large[f'{module}.{node.name}'] = lines
        self.assertEqual({}, large)
