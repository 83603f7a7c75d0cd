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

"""Run nova's, manila's and mistral's own tests with and without us.

    python3.11 tools/real_services/run.py FOLDER

makes an environment for each service in FOLDER (1 GB in all),
installs the service and this checkout, and runs those of the service's unit
tests that have to do with periodic tasks: once as it is, and once with
``oslo_service.periodic_task`` answered by ``oslo_periodic.periodic_task``.
It prints how many tests passed, failed and were skipped, and the names of
the tests whose outcomes differ; it ends with 1 if there are any.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import sys
from typing import Any

import environments

_COMPUTE = 'nova.tests.unit.compute.test_compute.ComputeTestCase.'


@dataclasses.dataclass(frozen=True)
class Trial:
    """Tests of one service that run in one process."""

    service: str
    title: str
    names: tuple[str, ...]


def _module(service: str, name: str) -> Trial:
    return Trial(service, name, (name,))


TRIALS = (
    _module('nova', 'nova.tests.unit.test_manager'),
    _module('nova', 'nova.tests.unit.test_service'),
    _module('nova', 'nova.tests.unit.test_rpc'),
    _module('nova', 'nova.tests.unit.scheduler.test_manager'),
    _module('nova', 'nova.tests.unit.compute.test_compute_mgr'),
    # Those of its tests that tick a ComputeManager.
    Trial(
        'nova',
        'nova.tests.unit.compute.test_compute (4)',
        (
            _COMPUTE + 'test_fail_to_schedule_persists',
            _COMPUTE + 'test_run_instance_setup_block_device_mapping_fail',
            _COMPUTE + 'test_setup_block_device_over_quota_fail',
            _COMPUTE + 'test_run_instance_spawn_fail',
        ),
    ),
    _module('manila', 'manila.tests.test_manager'),
    _module('manila', 'manila.tests.test_service'),
    _module('manila', 'manila.tests.scheduler.test_manager'),
    _module('manila', 'manila.tests.data.test_manager'),
    _module('manila', 'manila.tests.share.test_manager'),
    _module('mistral', 'mistral.tests.unit.services.test_expiration_policy'),
    _module('mistral', 'mistral.tests.unit.services.test_periodic'),
    _module('mistral', 'mistral.tests.unit.services.test_periodic_server'),
    _module('mistral', 'mistral.tests.unit.services.test_trigger_service'),
)

# oslo.service's own tests of the module look inside the reference: to be
# read one by one, where the table of deliberate differences speaks.
LIBRARY_TRIAL = _module('mistral', 'oslo_service.tests.test_periodic')


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What one trial gave under both libraries."""

    trial: Trial
    mode: str
    results: dict[str, dict[str, Any]]

    def counts(self, library: str) -> str:
        result = self.results[library]
        if 'crash' in result:
            return 'crash'
        count = collections.Counter(result['outcomes'].values())
        return f'{count["passed"]}/{count["failed"]}/{count["skipped"]}'

    def differing(self) -> dict[str, tuple[str, str]]:
        """Return the tests that differ: {name: (reference, ours)}."""
        reference, ours = (
            self.results[library].get('outcomes', {})
            for library in environments.LIBRARIES
        )
        return {
            name: (reference.get(name, 'absent'), ours.get(name, 'absent'))
            for name in sorted({*reference, *ours})
            if reference.get(name) != ours.get(name)
        }

    def is_equal(self) -> bool:
        crashed = any('crash' in one for one in self.results.values())
        return not crashed and not self.differing()

    def failing(self) -> list[str]:
        outcomes = self.results[environments.REFERENCE].get('outcomes', {})
        return [name for name in outcomes if outcomes[name] == 'failed']


def compare(
    environment: environments.Environment, trial: Trial, mode: str
) -> Comparison:
    """Run one trial under both libraries."""
    results = {}
    for library in environments.LIBRARIES:
        result = environment.run(
            'outcomes.py', library, mode, list(trial.names)
        )
        _check_answer(result, library)
        results[library] = result
    return Comparison(trial, mode, results)


def _check_answer(result: dict[str, Any], library: str) -> None:
    if 'crash' in result:
        return
    answer = result['answered_by']
    expected = {
        environments.REFERENCE: 'oslo_service.periodic_task',
        environments.OURS: 'oslo_periodic.periodic_task',
    }[library]
    if answer != expected:
        raise SystemExit(f'{answer} answered where {expected} should have')


def _print_table(comparisons: list[Comparison]) -> None:
    line = '{:<52} {:<9} {:>11} {:>11} {:>7}'
    print()
    print('passed/failed/skipped')
    print(line.format('module', 'backend', 'reference', 'ours', 'differ'))
    for comparison in comparisons:
        print(
            line.format(
                comparison.trial.title,
                comparison.mode,
                comparison.counts(environments.REFERENCE),
                comparison.counts(environments.OURS),
                len(comparison.differing()),
            )
        )


def _print_details(comparison: Comparison, verbose: bool) -> None:
    where = f'{comparison.trial.title} ({comparison.mode})'
    for library, result in comparison.results.items():
        if 'crash' in result:
            print(f'\n{where} crashed under {library}:\n{result["crash"]}')
    for name in comparison.failing():
        print(f'\nfails under the reference ({comparison.mode}): {name}')
    for name, (reference, ours) in comparison.differing().items():
        print(f'\ndiffers ({comparison.mode}): {name}: {reference}, {ours}')
        if verbose:
            for result in comparison.results.values():
                print(result.get('reasons', {}).get(name, ''))


def _parse() -> argparse.Namespace:
    parser = environments.arguments(__doc__)
    parser.add_argument(
        '--only', default='', help='only modules whose name contains this'
    )
    parser.add_argument(
        '--library-tests',
        action='store_true',
        help="run oslo.service's own tests of periodic_task as well",
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show the tracebacks'
    )
    parser.add_argument(
        '--json', type=pathlib.Path, help='write all outcomes to this file'
    )
    return parser.parse_args()


def main() -> int:
    options = _parse()
    prepared = environments.prepare(options)
    trials = TRIALS + (LIBRARY_TRIAL,) * options.library_tests
    comparisons = []
    for trial in trials:
        if trial.service not in prepared or options.only not in trial.title:
            continue
        for service, mode in environments.MODES:
            if service == trial.service:
                print(f'running {trial.title} ({mode})', flush=True)
                comparisons.append(compare(prepared[service], trial, mode))
    _print_table(comparisons)
    for comparison in comparisons:
        _print_details(comparison, options.verbose)
    if options.json:
        options.json.write_text(
            json.dumps(
                [dataclasses.asdict(comparison) for comparison in comparisons]
            )
        )
    equal = all(comparison.is_equal() for comparison in comparisons)
    print('\nno difference' if equal else '\nthere are differences')
    return 0 if equal else 1


if __name__ == '__main__':
    sys.exit(main())
