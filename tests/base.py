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

"""What the tests share."""

import os
import subprocess
import sys
import textwrap

import hypothesis
from oslo_config import cfg
from oslotest import base
import testscenarios

from oslo_periodic import fixture
import tests

#: Seconds; far above what anything here takes, to end what hangs.
TIMEOUT = 60


def make_conf():
    """Make a ConfigOpts that neither files nor the environment reach."""
    conf = cfg.ConfigOpts()
    conf([], project='tests', default_config_files=[], use_env=False)
    return conf


class TestCase(base.BaseTestCase):
    """A test with a backend selection and a configuration of its own."""

    backend = None

    def setUp(self):
        super().setUp()
        self.selected = self.useFixture(fixture.BackendFixture(self.backend))
        self.conf = make_conf()


class BackendTestCase(testscenarios.WithScenarios, TestCase):
    """A test whose body runs under every backend."""

    scenarios = [
        ('threading', {'backend': 'threading'}),
        ('eventlet', {'backend': 'eventlet'}),
        ('gevent', {'backend': 'gevent'}),
    ]

    def setUp(self):
        if tests.MONKEY_PATCHED and self.backend == 'gevent':
            self.skipTest('two hubs do not share one patched process')
        super().setUp()


def property_test(*strategies, max_examples=100):
    """Test with generated arguments, the same ones in every run."""

    def decorate(test):
        settings = hypothesis.settings(
            deadline=None,
            derandomize=True,
            max_examples=max_examples,
            # Scenarios run one function on several instances.
            suppress_health_check=[hypothesis.HealthCheck.differing_executors],
        )
        return settings(hypothesis.given(*strategies)(test))

    return decorate


def run_python(code, *, env=None, args=(), cwd=None):
    """Run code in a fresh process that nothing has been imported into."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(('OS_', 'OSLO_PERIODIC_'))
    }
    environment.update(env or {})
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code), *args],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
