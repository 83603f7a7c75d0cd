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

"""Drive real classes of nova, manila and mistral on a fake clock.

    python3.11 tools/real_services/fake_clock.py FOLDER

takes the environments that run.py made in FOLDER (or makes them), and in
each drives the service's real classes through the same several hundred
ticks, once under oslo.service's periodic_task and once under ours. Only the
bodies of the tasks are replaced, before the classes collect them. Clock and
jitter are fixed. It compares which tasks ran at which tick in which order,
what was raised and logged, and the last runs after each tick; it ends with 1
if anything differs. Idle times must agree where no task ran, but for the
reference's never being longer than a spacing; after a tick that ran tasks
they differ on purpose. The column idle counts those that differ.

Scenarios: plain; slow (tasks take time); failing (tasks raise, every other
tick re-raises); poked (last runs, spacings and run_external_periodic_tasks
are changed from outside between ticks).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import environments

SCENARIOS = ('plain', 'slow', 'failing', 'poked')

_LINE = '{:<32} {:<9} {:<8} {:>5} {:>5} {:>6} {:>6} {:>6}  {}'

_TITLES = (
    'class',
    'backend',
    'scenario',
    'tasks',
    'ticks',
    'runs',
    'ours',
    'idle',
    'difference',
)


def compare(reference: dict[str, Any], ours: dict[str, Any]) -> str:
    """Return where two histories part, or nothing."""
    for old, new in zip(reference['history'], ours['history'], strict=True):
        for what in old:
            if not _is_same(what, old, new):
                return (
                    f'tick {old["tick"]}, {what}: '
                    f'{_short(old[what], new[what])} under the reference, '
                    f'{_short(new[what], old[what])} here'
                )
    for what in reference['state']:
        old, new = reference['state'][what], ours['state'][what]
        if old != new:
            return f'{what} at first: {old} under the reference, {new} here'
    return ''


def _is_same(what: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    if what != 'idle' or None in (old['idle'], new['idle']):
        return bool(old[what] == new[what])
    # The reference works it out before its tasks run, and never beyond a
    # spacing, even where the jitter has put the last run into the future.
    capped = min([new['idle'], *old['spacing'].values()])
    return bool(old['ran']) or _is_close(old['idle'], capped)


def _is_close(old: float, new: float) -> bool:
    return abs(old - new) < 1e-6


def _short(value: Any, other: Any) -> Any:
    """Leave out of a mapping what is the same in the other."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if item != other.get(key)}


def _of_class(result: dict[str, Any], label: str) -> dict[str, Any]:
    return {key: result[key].get(label) for key in ('history', 'state')}


def _differing_idle(reference: dict[str, Any], ours: dict[str, Any]) -> int:
    return sum(
        None not in (old['idle'], new['idle'])
        and not _is_close(old['idle'], new['idle'])
        for old, new in zip(reference['history'], ours['history'], strict=True)
    )


def _print_row(
    label: str,
    mode: str,
    scenario: str,
    reference: dict[str, Any],
    ours: dict[str, Any],
) -> bool:
    difference = compare(reference, ours)
    print(
        _LINE.format(
            label,
            mode,
            scenario,
            len(reference['state']['tasks']),
            len(reference['history']),
            sum(len(tick['ran']) for tick in reference['history']),
            sum(len(tick['ran']) for tick in ours['history']),
            _differing_idle(reference, ours),
            difference or 'equal',
        ),
        flush=True,
    )
    return not difference


def drive(
    environment: environments.Environment,
    mode: str,
    scenario: str,
    options: argparse.Namespace,
) -> bool:
    """Drive one service under both libraries and print the comparison."""
    results = {
        library: environment.run(
            'drive.py',
            library,
            mode,
            [
                environment.service,
                scenario,
                str(options.seed),
                str(options.ticks),
            ],
        )
        for library in environments.LIBRARIES
    }
    for library, result in results.items():
        if 'crash' in result:
            print(
                f'{environment.service} ({mode}, {scenario}) crashed under '
                f'{library}:\n{result["crash"]}'
            )
    if any('crash' in result for result in results.values()):
        return False
    reference = results[environments.REFERENCE]
    ours = results[environments.OURS]
    if reference['answered_by'] == ours['answered_by']:
        raise SystemExit('the same library has answered twice')
    if ours['backend'] != mode:
        raise SystemExit(f'ran on {ours["backend"]} instead of {mode}')
    equal = True
    for label in reference['history']:
        equal &= _print_row(
            label,
            mode,
            scenario,
            _of_class(reference, label),
            _of_class(ours, label),
        )
    if reference['skipped'] != ours['skipped']:
        equal = False
        print(
            f'{environment.service}: tasks skipped under the reference: '
            f'{reference["skipped"]}, here: {ours["skipped"]}'
        )
    return equal


def main() -> int:
    parser = environments.arguments(__doc__)
    parser.add_argument('--ticks', type=int, default=400)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument(
        '--scenario', action='append', choices=SCENARIOS, help='only this one'
    )
    options = parser.parse_args()
    prepared = environments.prepare(options)
    print(_LINE.format(*_TITLES))
    equal = True
    for service, mode in environments.MODES:
        if service not in prepared:
            continue
        for scenario in options.scenario or SCENARIOS:
            equal &= drive(prepared[service], mode, scenario, options)
    print('no difference' if equal else 'there are differences')
    return 0 if equal else 1


if __name__ == '__main__':
    sys.exit(main())
