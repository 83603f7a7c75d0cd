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

"""Describe backends without loading them into this process."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys

from oslo_periodic.backends import _interpreter
from oslo_periodic.backends import _loading
from oslo_periodic.backends import _selection
from oslo_periodic.backends import base
from oslo_periodic import exceptions

#: Seconds; importing a large plugin from a cold disk takes about one.
_PROBE_TIMEOUT = 60


@dataclasses.dataclass(frozen=True)
class BackendInfo:
    """The description of one installed backend."""

    #: The name that selects the backend.
    name: str
    #: The distribution that provides it, and its version.
    distribution: str
    version: str
    #: The capabilities that it declares; None if it could not be loaded.
    capabilities: frozenset[base.Capability] | None
    #: Why it could not be loaded; None if it could.
    error: str | None


def available_backends(in_use: base.Backend | None) -> list[BackendInfo]:
    """Describe each installed backend; see the public function.

    :param in_use: the backend that this process uses; it is described
        without a process of its own.
    """
    points = importlib.metadata.entry_points(group=_loading.GROUP)
    # One distribution can be on the path twice: installed, and as a source
    # tree.
    unique = {
        (point.name, point.dist.name if point.dist else '', point.value): point
        for point in points
    }
    return [_describe(unique[key], in_use) for key in sorted(unique)]


def _describe(
    point: importlib.metadata.EntryPoint, in_use: base.Backend | None
) -> BackendInfo:
    capabilities: frozenset[base.Capability] | None
    if in_use is not None and in_use.name == point.name:
        capabilities, error = in_use.capabilities, None
    else:
        capabilities, error = _probe_in_process(point.name)
    return BackendInfo(
        name=point.name,
        distribution=point.dist.name if point.dist else '',
        version=point.dist.version if point.dist else '',
        capabilities=capabilities,
        error=error,
    )


def _probe_in_process(
    name: str,
) -> tuple[frozenset[base.Capability] | None, str | None]:
    environment = dict(os.environ)
    # An unknown name in the variable would make the package's import fail.
    environment.pop(_selection.ENVIRONMENT_VARIABLE, None)
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(  # noqa: S603
            [_interpreter.executable(), '-P', '-m', __name__, name],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return None, f'importing it takes over {_PROBE_TIMEOUT} seconds'
    except OSError as exc:
        return None, f'no process could be started to import it: {exc}'
    except (IndexError, ValueError):
        last = (done.stderr.strip() or 'no output').splitlines()[-1]
        return None, f'importing it ended with {done.returncode}: {last}'
    if 'error' in answer:
        return None, answer['error']
    return frozenset(map(base.Capability, answer['capabilities'])), None


def _probe(name: str) -> dict[str, object]:
    try:
        backend = _loading.load(name, 'available_backends')
    except exceptions.PeriodicError as exc:
        return {'error': str(exc)}
    return {'capabilities': [item.value for item in backend.capabilities]}


if __name__ == '__main__':
    print(json.dumps(_probe(sys.argv[1])))
