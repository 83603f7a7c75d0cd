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

"""The services' environments, and a way to run a script in one of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent

REFERENCE = 'reference'
OURS = 'ours'
LIBRARIES = (REFERENCE, OURS)

# What the services' wheels do not ask for, but their tests import. nova
# 34.0.0's tests turn a deprecation warning of SQLAlchemy 2.1 into an error.
_COMMON = (
    'oslo.service==4.8.0',
    'SQLAlchemy==2.0.58',
    'eventlet==0.41.3',
    'ddt',
    'fixtures',
    'oslotest',
    'requests-mock',
    'testresources',
    'testscenarios',
    'testtools',
)

REQUIREMENTS = {
    'nova': ('nova==34.0.0', 'osprofiler', 'wsgi-intercept'),
    'manila': ('manila==23.0.1',),
    'mistral': ('mistral==23.0.0',),
}

# How a service's tests are told which concurrency backend to use; mistral's
# know no other than native threads.
MODES = {
    ('nova', 'eventlet'): {'OS_NOVA_DISABLE_EVENTLET_PATCHING': '0'},
    ('nova', 'threading'): {'OS_NOVA_DISABLE_EVENTLET_PATCHING': '1'},
    ('manila', 'eventlet'): {'OS_MANILA_DISABLE_EVENTLET_PATCHING': '0'},
    ('manila', 'threading'): {'OS_MANILA_DISABLE_EVENTLET_PATCHING': '1'},
    ('mistral', 'threading'): {},
}

_FROM_OUTSIDE = ('OS_', 'PYTHON', 'VIRTUAL_ENV')


@dataclasses.dataclass(frozen=True)
class Environment:
    """A virtual environment that holds one service and the checkout."""

    service: str
    folder: pathlib.Path

    @property
    def python(self) -> pathlib.Path:
        return self.folder / 'bin' / 'python'

    def create(self) -> None:
        """Create it, unless it is there; install the checkout in any case."""
        if not self.python.exists():
            _call(sys.executable, '-m', 'venv', str(self.folder))
        self._install(*REQUIREMENTS[self.service], *_COMMON)
        with tempfile.TemporaryDirectory() as scratch:
            self._install(str(_copy_of_checkout(pathlib.Path(scratch))))

    def _install(self, *what: str) -> None:
        environment = dict(os.environ, PBR_VERSION='0.0.1')
        _call(
            str(self.python), '-m', 'pip', 'install', '--quiet',
            '--disable-pip-version-check', *what, env=environment,
        )  # fmt: skip

    def run(
        self,
        script: str,
        library: str,
        mode: str,
        arguments: list[str],
        timeout: float = 3600,
    ) -> dict[str, Any]:
        """Run a script of this folder and return the JSON it wrote.

        :param library: REFERENCE or OURS: what answers
            ``oslo_service.periodic_task``.
        :param mode: the concurrency backend, see MODES.
        :param timeout: seconds.
        :returns: what it wrote, or ``{'crash': what it printed last}``.
        """
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FROM_OUTSIDE)
        }
        environment.update(MODES[self.service, mode])
        environment['PYTHONWARNINGS'] = 'ignore'
        environment['PYTHONHASHSEED'] = '0'
        if library == OURS:
            environment['PYTHONPATH'] = str(HERE / 'answered')
        with tempfile.TemporaryDirectory() as scratch:
            output = pathlib.Path(scratch) / 'output.json'
            # -P: the names in this folder must not hide others'.
            command = [
                str(self.python), '-P', str(HERE / script), str(output),
                *arguments,
            ]  # fmt: skip
            try:
                done = subprocess.run(
                    command,
                    cwd=scratch,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors='replace',
                    timeout=timeout,
                )
            except subprocess.TimeoutExpired:
                return {'crash': f'no end after {timeout} seconds'}
            if not output.exists():
                return {'crash': done.stdout[-4000:]}
            result: dict[str, Any] = json.loads(output.read_text())
            return result


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for what the scripts have in common."""
    parser = argparse.ArgumentParser(
        description=(description or '').split('\n')[0]
    )
    parser.add_argument(
        'folder', type=pathlib.Path, help='where the environments are made'
    )
    parser.add_argument(
        '--service',
        action='append',
        choices=sorted(REQUIREMENTS),
        help='only this service; can be repeated',
    )
    parser.add_argument(
        '--skip-install',
        action='store_true',
        help='take the environments as they are',
    )
    return parser


def prepare(options: argparse.Namespace) -> dict[str, Environment]:
    """Return the environments that the command line asks for, ready."""
    prepared = {}
    for service in options.service or REQUIREMENTS:
        environment = Environment(service, options.folder.resolve() / service)
        if not options.skip_install:
            print(f'preparing {service}', flush=True)
            environment.create()
        prepared[service] = environment
    return prepared


def _copy_of_checkout(scratch: pathlib.Path) -> pathlib.Path:
    # A build in place would leave its droppings in the checkout.
    copy = scratch / 'checkout'
    shutil.copytree(
        CHECKOUT,
        copy,
        ignore=shutil.ignore_patterns(
            '.*', '__pycache__', 'build', 'dist', '*.egg-info'
        ),
        symlinks=True,
    )
    return copy


def _call(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env)
