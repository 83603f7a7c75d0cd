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

"""Compare the serial tick with that of other libraries, in one table.

Each measurement of each library runs in a process of its own. The libraries
take turns, so that what else the machine does is shared out evenly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import pyperf

_HERE = pathlib.Path(__file__).resolve().parent
_OURS, _REFERENCE = 'oslo.periodic', 'oslo.service'
#: The module whose import is measured, of each distribution.
_MODULES = {
    _OURS: 'oslo_periodic.periodic_task',
    _REFERENCE: 'oslo_service.periodic_task',
    'futurist': 'futurist.periodics',
    'APScheduler': 'apscheduler.schedulers.base',
}
_BOTH = (_OURS, _REFERENCE)
_IMPORT = """
import sys, time
{before}
started = time.perf_counter()
import {module}
print(time.perf_counter() - started)
"""

#: Of each library, what each round measured.
Samples = dict[str, list[float]]
#: Measures a case once, for one library.
Measure = Callable[[str], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is to be reached: a figure at most, or a ratio at least."""

    text: str
    at_most: float | None = None
    ratio: float | None = None

    def verdict(self, samples: Samples) -> str:
        """Say whether the goal is reached: yes, at best, or no."""
        for choose, answer in ((statistics.median, 'yes'), (min, 'at best')):
            ours = choose(samples[_OURS])
            if self.at_most is not None:
                reached = ours <= self.at_most
            elif _REFERENCE not in samples:
                return '-'
            else:
                assert self.ratio is not None
                reached = choose(samples[_REFERENCE]) >= self.ratio * ours
            if reached:
                return answer
        return 'no'


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    unit: str
    scale: float
    goal: Goal | None = None


ROWS = (
    Row(
        'idle',
        'idle tick, 10,000 tasks',
        'us',
        1e6,
        Goal('<= 1 us', at_most=1e-6),
    ),
    Row(
        'few',
        'tick, 10 of 10,000 due',
        'us',
        1e6,
        Goal('>= 100 x', ratio=100),
    ),
    Row('few-cold', '  the same after 20 ms of sleep', 'us', 1e6),
    Row(
        'all',
        'a task, 1,000 of 1,000 due',
        'us',
        1e6,
        Goal('<= 4 us', at_most=4e-6),
    ),
    Row('memory', 'memory a task', 'B', 1, Goal('<= 570 B', at_most=570)),
    Row('import', 'import', 'ms', 1e3, Goal('>= 1 x', ratio=1)),
    Row(
        'import-on-top',
        '  on top of oslo_config.cfg',
        'ms',
        1e3,
        Goal('<= 10 ms', at_most=0.01),
    ),
    Row('many-make', '1,000,000 tasks: make them', 's', 1),
    Row('many-idle', '  idle tick', 'us', 1e6),
    Row('many-due', '  tick, all due', 's', 1),
)


def _run(*arguments: str) -> str:
    environment = dict(os.environ)
    # Nothing is patched, so threading is what it gets without being told.
    environment.pop('OS_OSLO_PERIODIC__BACKEND', None)
    # Everybody's modules are compiled once, as they are when installed.
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f'{" ".join(arguments)} failed:\n{done.stderr}')
    return done.stdout


def _measure_tick(library: str, case: str, loops: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        output = str(pathlib.Path(folder, 'result.json'))
        _run(
            str(_HERE / 'ticks.py'),
            *('--worker', f'--loops={loops}', '--warmups=1', '--values=5'),
            *('--output', output, library, case),
        )
        values = pyperf.Benchmark.load(output).get_values()
    return {case: min(values)}


def _measure_import(library: str, before: str, key: str) -> dict[str, float]:
    code = _IMPORT.format(before=before, module=_MODULES[library])
    return {key: float(_run('-c', code))}


def _measure_footprint(library: str, what: str) -> dict[str, float]:
    results: dict[str, float] = json.loads(
        _run(str(_HERE / 'footprint.py'), library, what)
    )
    return results


def _plan(
    rounds: int, million: bool
) -> Iterator[tuple[int, tuple[str, ...], Measure]]:
    """Yield how often to measure which libraries, and how."""
    everybody = tuple(_MODULES)

    def tick(case: str, reference: int, loops: int) -> Measure:
        return lambda library: _measure_tick(
            library, case, reference if library == _REFERENCE else loops
        )

    yield rounds, everybody, tick('idle', 3, 20_000)
    yield rounds, everybody, tick('few', 3, 100)
    yield rounds, everybody, tick('few-cold', 3, 10)
    yield rounds, everybody, tick('all', 3, 10)
    yield 1, everybody, lambda name: _measure_footprint(name, 'memory')
    yield (
        2 * rounds,
        everybody,
        lambda name: _measure_import(name, '', 'import'),
    )
    before = 'from oslo_config import cfg'
    yield (
        2 * rounds,
        _BOTH,
        lambda name: _measure_import(name, before, 'import-on-top'),
    )
    if million:
        yield 1, _BOTH, lambda name: _measure_footprint(name, 'many')


def _measure(
    rounds: int, million: bool, present: set[str]
) -> dict[str, Samples]:
    results: dict[str, Samples] = {}
    for times, wanted, measure in _plan(rounds, million):
        for _ in range(times):
            for library in wanted:
                if library not in present:
                    continue
                for key, value in measure(library).items():
                    samples = results.setdefault(key, {})
                    samples.setdefault(library, []).append(value)
            print('.', end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def _ratio(samples: Samples) -> str:
    if _REFERENCE not in samples:
        return '-'
    pairs = zip(samples[_REFERENCE], samples[_OURS], strict=True)
    ratio = statistics.median(reference / ours for reference, ours in pairs)
    return f'{ratio:,.0f} x' if ratio >= 10 else f'{ratio:.2f} x'


def _figure(samples: list[float] | None, row: Row) -> str:
    if not samples:
        return '-'
    figures = [min(samples)]
    if len(samples) > 1:
        figures.append(statistics.median(samples))
    scaled = [figure * row.scale for figure in figures]
    texts = [f'{x:,.0f}' if x >= 100 else f'{x:.3g}' for x in scaled]
    return f'{" / ".join(texts)} {row.unit}'


def _table(results: dict[str, Samples]) -> str:
    lines = [['', 'ratio', 'goal', 'reached', *_MODULES]]
    for row in ROWS:
        samples = results.get(row.key)
        if not samples:
            continue
        lines.append(
            [
                row.title,
                _ratio(samples),
                row.goal.text if row.goal else '',
                row.goal.verdict(samples) if row.goal else '',
                *(_figure(samples.get(name), row) for name in _MODULES),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join(
        '  '.join(map(str.ljust, line, widths)).rstrip() for line in lines
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in _MODULES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--no-million', action='store_true')
    args = parser.parse_args()
    versions = _versions()
    results = _measure(args.rounds, not args.no_million, set(versions))
    print(_table(results))
    print()
    print('Figures: minimum / median of the rounds; lower is better.')
    print('Ratio: oslo.service divided by oslo.periodic, median of rounds.')
    print('Reached: by the median (yes), the minimum (at best), or not (no).')
    print(
        f'Python {platform.python_version()}, {os.cpu_count()} CPUs; '
        + ', '.join(f'{name} {number}' for name, number in versions.items())
    )


if __name__ == '__main__':
    main()
