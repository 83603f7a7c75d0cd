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

"""Measure what one library takes for many tasks: memory, and time.

It prints one JSON object, and runs in a process of its own, as every
measurement of one library does.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import tracemalloc

import libraries

_TASKS_IN_MEMORY = 10_000
_MANY = 1_000_000


def measure_memory(library: str) -> dict[str, float]:
    """Measure the bytes for each task, after each ran once.

    That is the decoration, the class and its instance, or what stands for
    them; the functions themselves were there before, and modules, too.
    """
    passes = libraries.SCHEDULE[library](
        [libraries.make_function(0)], [libraries.SPACING]
    )
    passes(1)  # What is loaded at first use is no task's.
    functions = [libraries.make_function(i) for i in range(_TASKS_IN_MEMORY)]
    spacings = [libraries.SPACING] * _TASKS_IN_MEMORY
    gc.collect()
    tracemalloc.start()
    passes = libraries.SCHEDULE[library](functions, spacings)
    _check(passes(1, 0.0), _TASKS_IN_MEMORY)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    return {'memory': size / _TASKS_IN_MEMORY}


def measure_many(library: str) -> dict[str, float]:
    """Measure the seconds that 1,000,000 tasks take."""
    functions = [libraries.make_function(i) for i in range(_MANY)]
    started = time.perf_counter()
    passes = libraries.SCHEDULE[library](
        functions, [libraries.SPACING] * _MANY
    )
    made = time.perf_counter() - started
    passes(1)  # The first one loads what is loaded at first use.
    idle = passes(1)
    _check(idle, 0)
    due = passes(1, 0.0)
    _check(due, _MANY)
    return {
        'many-make': made,
        'many-idle': idle.seconds,
        'many-due': due.seconds,
    }


def _check(measured: libraries.Measured, expected: int) -> None:
    if measured.runs != expected:
        raise RuntimeError(f'{measured.runs} runs, expected {expected}')


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('library', choices=libraries.SCHEDULE)
    parser.add_argument('what', choices=('memory', 'many'))
    args = parser.parse_args()
    measure = {'memory': measure_memory, 'many': measure_many}[args.what]
    print(json.dumps(measure(args.library)))


if __name__ == '__main__':
    main()
