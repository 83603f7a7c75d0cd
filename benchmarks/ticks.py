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

"""Time the passes of one library, in this process or pyperf's workers."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import libraries
import pyperf


class Case(NamedTuple):
    """How many tasks there are, and how many of them a pass runs."""

    tasks: int
    due: int
    #: Seconds of sleep before a pass; None if nothing is to become due.
    pause: float | None
    #: Whether the time of a pass is divided by the tasks that it runs.
    per_task: bool = False


CASES = {
    'idle': Case(10_000, 0, None),
    'few': Case(10_000, 10, 0.0),
    'few-cold': Case(10_000, 10, 0.02),
    'all': Case(1_000, 1_000, 0.0, per_task=True),
}


def _schedule(library: str, case: Case) -> libraries.Passes:
    functions = [libraries.make_function(i) for i in range(case.tasks)]
    # The due ones are spread over all.
    due = set(range(0, case.tasks, case.tasks // case.due) if case.due else ())
    spacings = [
        libraries.SPACING if index in due else libraries.NEVER
        for index in range(case.tasks)
    ]
    return libraries.SCHEDULE[library](functions, spacings)


def _time(case: Case, passes: libraries.Passes, count: int) -> float:
    seconds, runs = passes(count, case.pause)
    if runs != count * case.due:
        raise RuntimeError(f'{runs} runs, expected {count * case.due}')
    return seconds / case.due if case.per_task else seconds


def _forward(command: list[str], args: argparse.Namespace) -> None:
    command.extend((args.library, args.case))


def main() -> None:
    """Measure as the command line says; pyperf adds its own options."""
    runner = pyperf.Runner(add_cmdline_args=_forward)
    runner.argparser.add_argument('library', choices=libraries.SCHEDULE)
    runner.argparser.add_argument('case', choices=CASES)
    args = runner.parse_args()
    case = CASES[args.case]
    passes = _schedule(args.library, case)
    runner.bench_time_func(
        f'{args.library}: {args.case}',
        lambda count: _time(case, passes, count),
    )


if __name__ == '__main__':
    main()
