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

"""Drive real classes on a fake clock; write what ran at which tick as JSON.

``fake_clock.py`` runs it in a service's environment:
OUTPUT SERVICE SCENARIO SEED TICKS

All imports of a service come after the clock and the recorders are in
place, since a service decorates its tasks when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import functools
import importlib
import json
import logging
import pathlib
import random
import sys
import types
from typing import Any
import unittest
from unittest import mock

# Seconds; what a service's timer would do, and gaps longer than any spacing.
STEPS = (0.0, 0.001, 0.5, 1.0, 3.0, 10.0, 19.9, 45.0, 60.0, 61.3, 300.0)
LONG_STEPS = (600.0, 1800.0, 3600.0, 90000.0)

MESSAGES = ('Running periodic task', 'Error during', 'Skipping periodic task')


# Makes the instances, given the running test.
Maker = Callable[[Any], dict[str, Any]]


class TaskError(Exception):
    """What a recorder raises where the scenario says that a task fails."""


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Recorder:
    """Stands in for every task's body and notes what ran."""

    def __init__(self, clock: Clock, scenario: str) -> None:
        self.clock = clock
        self.scenario = scenario
        self.ran: list[str] = []
        self.runs = 0
        self.context: Any = None
        self._recorders: dict[Any, Callable[..., None]] = {}

    def instead_of(self, function: Any) -> Callable[..., None]:
        """Return what takes the place of a task: always the same."""
        if function not in self._recorders:

            @functools.wraps(function)
            def task(instance: Any, context: Any) -> None:
                self._run(function.__name__, context)

            self._recorders[function] = task
        return self._recorders[function]

    def _run(self, name: str, context: Any) -> None:
        wrong = '' if context is self.context else ' with another context'
        self.ran.append(name + wrong)
        self.runs += 1
        if self.scenario == 'slow':
            # Shorter than any spacing: longer ones differ on purpose.
            self.clock.time += (self.runs % 7) / 8
        if self.scenario == 'failing' and self.runs % 3 == 0:
            raise TaskError(name)

    def decorator(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return a ``periodic_task`` that decorates recorders."""

        @functools.wraps(real)
        def periodic_task(*args: Any, **kwargs: Any) -> Any:
            if args and not kwargs:
                return real(self.instead_of(args[0]))
            decorate = real(*args, **kwargs)
            return lambda function: decorate(self.instead_of(function))

        return periodic_task


class Messages(logging.Handler):
    """Keeps what the library logs about tasks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith(MESSAGES):
            self.kept.append(f'{record.levelname} {message}')

    def install(self) -> None:
        for name in ('oslo_service', 'oslo_periodic'):
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self)


def nova_case(scenario: str) -> tuple[type, Maker]:
    """Return nova's base class of tests, and what makes the instances."""
    base = importlib.import_module('nova.test').NoDBTestCase
    compute = importlib.import_module('nova.compute.manager')
    conductor = importlib.import_module('nova.conductor.manager')
    rpc = importlib.import_module('nova.rpc')
    host_manager = importlib.import_module('nova.scheduler.host_manager')
    scheduler = importlib.import_module('nova.scheduler.manager')

    class Case(base):  # type: ignore[misc, valid-type]
        REQUIRES_LOCKING = True
        STUB_COMPUTE_ID = False

    def make(case: Any) -> dict[str, Any]:
        hosts = host_manager.HostManager
        with (
            mock.patch.object(hosts, '_init_instance_info'),
            mock.patch.object(hosts, '_init_aggregates'),
        ):
            scheduling = scheduler.SchedulerManager()
        return {
            'ComputeManager': compute.ComputeManager(),
            'ComputeManager again': compute.ComputeManager(),
            'ConductorManager': conductor.ConductorManager(),
            'SchedulerManager': scheduling,
            'ClientRouter': rpc.ClientRouter(mock.Mock()),
        }

    return Case, make


def manila_case(scenario: str) -> tuple[type, Maker]:
    """Return manila's base class of tests, and what makes the instances."""
    test = importlib.import_module('manila.test')
    base = importlib.import_module('manila.manager')
    data = importlib.import_module('manila.data.manager')
    scheduler = importlib.import_module('manila.scheduler.manager')
    share = importlib.import_module('manila.share.manager')

    def make(case: Any) -> dict[str, Any]:
        case.flags(share_driver='manila.tests.fake_driver.FakeShareDriver')
        return {
            'ShareManager': share.ShareManager(),
            'DataManager': data.DataManager(),
            'SchedulerManager': scheduler.SchedulerManager(),
            'SchedulerDependentManager': base.SchedulerDependentManager(),
        }

    return test.TestCase, make


def mistral_case(scenario: str) -> tuple[type, Maker]:
    """Return mistral's base class of tests, and what makes the instances."""
    base = importlib.import_module('mistral.tests.unit.base')
    cfg = importlib.import_module('oslo_config.cfg')
    expiration = importlib.import_module('mistral.services.expiration_policy')
    periodic = importlib.import_module('mistral.services.periodic')

    def make(case: Any) -> dict[str, Any]:
        # Minutes.
        for name, value in {'evaluation_interval': 3, 'older_than': 9}.items():
            case.override_config(
                name, value, group='execution_expiration_policy'
            )
        policy = expiration.ExecutionExpirationPolicy
        instances = {
            'ExecutionExpirationPolicy': policy(cfg.CONF),
            'MistralPeriodicTasks': periodic.MistralPeriodicTasks(cfg.CONF),
        }
        # A second instance adds its task to the class's list once more under
        # the reference, which then can run it twice in a tick that takes
        # time. Here that is not so, on purpose.
        if scenario != 'slow':
            instances['ExecutionExpirationPolicy again'] = policy(cfg.CONF)
        return instances

    return base.BaseTest, make


# What has to be imported before anything else: it patches the process or
# not, as the environment says. And what gives the case.
SERVICES = {
    'nova': ('nova.tests.unit', nova_case),
    'manila': ('manila.tests', manila_case),
    'mistral': ('mistral.tests.unit', mistral_case),
}


def steps(seed: int, ticks: int) -> Iterator[float]:
    """Give the seconds before each tick, the same for both libraries."""
    generator = random.Random(seed)
    for _ in range(ticks):
        choices = LONG_STEPS if generator.random() < 0.02 else STEPS
        yield generator.choice(choices)


class Drive:
    """Ticks all instances of a service and collects what they did."""

    def __init__(
        self, clock: Clock, recorder: Recorder, messages: Messages
    ) -> None:
        self.clock = clock
        self.recorder = recorder
        self.messages = messages
        self.history: dict[str, list[Any]] = {}
        self.state: dict[str, Any] = {}

    def run(self, instances: dict[str, Any], seed: int, ticks: int) -> None:
        for label, instance in instances.items():
            self.history[label] = []
            names = [name for name, _ in instance._periodic_tasks]
            self.state[label] = {
                # Once each: the reference adds a task to the class, so that
                # every instance that adds it (mistral) lengthens the list.
                'tasks': list(dict.fromkeys(names)),
                'spacing': dict(instance._periodic_spacing),
                'last run': dict(instance._periodic_last_run),
            }
        for number, step in enumerate(steps(seed, ticks)):
            self.clock.time += step
            for label, instance in instances.items():
                if self.recorder.scenario == 'poked':
                    self._poke(instance, number)
                self._tick(label, instance, number)

    def _tick(self, label: str, instance: Any, number: int) -> None:
        self.recorder.context = object()
        before = len(self.messages.kept)
        raise_on_error = (
            self.recorder.scenario == 'failing' and number % 2 == 0
        )
        error = ''
        idle = None
        try:
            idle = instance.run_periodic_tasks(
                self.recorder.context, raise_on_error=raise_on_error
            )
        except TaskError as exc:
            error = repr(exc)
        self.history[label].append(
            {
                'tick': number,
                'time': self.clock.time,
                'ran': self.recorder.ran[:],
                'raised': error,
                'idle': idle,
                'logged': self.messages.kept[before:],
                'last run': dict(instance._periodic_last_run),
                'spacing': dict(instance._periodic_spacing),
            }
        )
        self.recorder.ran.clear()

    def _poke(self, instance: Any, number: int) -> None:
        names = sorted(instance._periodic_last_run)
        if not names:
            return
        name = names[number % len(names)]
        if number % 11 == 3:
            instance._periodic_last_run[name] = None
        if number % 13 == 5:
            instance._periodic_last_run[name] = self.clock.time
        if number % 17 == 7:
            instance._periodic_spacing[name] = 5 + number % 90
        if number % 29 == 11:
            external = number % 2 == 0
            instance.conf.set_override('run_external_periodic_tasks', external)


def main() -> None:
    output, service, scenario, seed, ticks = sys.argv[1:]
    # The services read the command line, too.
    del sys.argv[1:]
    messages = Messages()
    messages.install()
    first_import, make_case = SERVICES[service]

    clock = Clock()
    recorder = Recorder(clock, scenario)
    # The jitter follows the clock, so that it does not matter how often a
    # library asks for it.
    with mock.patch('random.random', lambda: clock.time * 0.618 % 1):
        _patch_before(first_import)
        library = importlib.import_module('oslo_service.periodic_task')
        library.now = clock  # type: ignore[attr-defined]
        library.periodic_task = (  # type: ignore[attr-defined]
            recorder.decorator(library.periodic_task)
        )
        importlib.import_module(first_import)
        base, make_instances = make_case(scenario)
        drive = Drive(clock, recorder, messages)

        class Case(base):  # type: ignore[misc, valid-type]
            def test_drive(self) -> None:
                drive.run(make_instances(self), int(seed), int(ticks))

        result = unittest.TestResult()
        Case('test_drive').run(result)
    problems = [text for _, text in result.errors + result.failures]
    if problems:
        sys.exit(problems[0])
    pathlib.Path(output).write_text(
        json.dumps(
            {
                'answered_by': library.__name__,
                'backend': _backend_in_use(library),
                'history': drive.history,
                'state': drive.state,
                'skipped': sorted(
                    message
                    for message in messages.kept
                    if 'Skipping' in message
                ),
            }
        )
    )


def _patch_before(first_import: str) -> None:
    # nova and manila choose a concurrency backend there; importing only that
    # much leaves the decorated modules for after the recorders.
    service = first_import.split('.')[0]
    if service != 'mistral':
        importlib.import_module(f'{service}.monkey_patch').patch(
            *(['eventlet'] if service == 'nova' else [])
        )


def _backend_in_use(library: types.ModuleType) -> str | None:
    if library.__name__ != 'oslo_periodic.periodic_task':
        return None
    backends = importlib.import_module('oslo_periodic.backends')
    name: str = backends.get_backend().name
    return name


if __name__ == '__main__':
    main()
