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

"""What a user installs: a wheel, built as pip builds it."""

import configparser
from email import parser
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

from tests import base

ROOT = pathlib.Path(__file__).parents[2]
VERSION = '1.2.3'
#: Seconds; pip may have to download what the build needs.
BUILD_TIMEOUT = 300


def _what_is_missing():
    if not (ROOT / '.git').exists():
        return 'this is not a clone, and there is no commit to archive'
    if not shutil.which('git'):
        return 'git is not installed'
    if not importlib.util.find_spec('pip'):
        return 'pip is not installed beside this Python'
    return None


def _git(*arguments):
    return subprocess.run(
        ['git', *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=base.TIMEOUT,
    ).stdout


def _build(directory):
    """Build a wheel of the last commit, as from a source archive."""
    archive = directory / 'source.tar'
    archive.write_bytes(_git('archive', '--format=tar', 'HEAD'))
    source = directory / 'source'
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter='data')
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'pip', 'wheel', '--no-deps'),
            *('--wheel-dir', str(directory), str(source)),
        ],
        cwd=directory,
        env={**os.environ, 'PBR_VERSION': VERSION},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT,
    )
    if done.returncode:
        raise AssertionError(f'pip wheel failed: {done.stdout}{done.stderr}')
    (wheel,) = directory.glob('*.whl')
    return wheel


class TestWheel(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        missing = _what_is_missing()
        if missing:
            raise unittest.SkipTest(missing)
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.path = _build(pathlib.Path(directory.name))
        with zipfile.ZipFile(cls.path) as wheel:
            cls.names = wheel.namelist()
            cls.files = {
                name.partition('.dist-info/')[2]: wheel.read(name).decode()
                for name in cls.names
                if '.dist-info/' in name
            }
        cls.metadata = parser.Parser().parsestr(cls.files['METADATA'])

    def test_name(self):
        self.assertEqual(
            f'oslo_periodic-{VERSION}-py3-none-any.whl', self.path.name
        )
        self.assertEqual('oslo.periodic', self.metadata['Name'])
        self.assertEqual(VERSION, self.metadata['Version'])

    def test_holds_the_whole_package(self):
        tracked = _git('ls-tree', '-r', '--name-only', 'HEAD', 'oslo_periodic')
        packaged = {n for n in self.names if n.startswith('oslo_periodic/')}
        self.assertEqual(set(tracked.decode().split()), packaged)

    def test_is_typed(self):
        self.assertIn('oslo_periodic/py.typed', self.names)

    def test_holds_nothing_else(self):
        tops = {name.partition('/')[0] for name in self.names}
        self.assertEqual(
            {'oslo_periodic', f'oslo_periodic-{VERSION}.dist-info'}, tops
        )

    def test_entry_points(self):
        points = configparser.ConfigParser()
        points.optionxform = str
        points.read_string(self.files['entry_points.txt'])
        backends = 'oslo_periodic.backends.'
        self.assertEqual(
            {
                'console_scripts': {
                    'oslo-periodic': 'oslo_periodic.cmd.main:main',
                },
                'oslo.config.opts': {
                    'oslo.periodic': 'oslo_periodic.opts:list_opts',
                },
                'oslo.periodic.backends': {
                    'eventlet': f'{backends}_eventlet:EventletBackend',
                    'threading': f'{backends}_threading:ThreadingBackend',
                },
            },
            {name: dict(points[name]) for name in points.sections()},
        )

    def test_requirements(self):
        required = {None: set(), 'eventlet': set(), 'fixtures': set()}
        for line in self.metadata.get_all('Requires-Dist'):
            name = re.match(r'[\w.-]+', line).group().lower()
            extra = re.search(r'extra == [\'"](\w+)', line)
            required[extra and extra.group(1)].add(name)
        self.assertEqual(
            {
                None: {'cliff', 'oslo.config', 'stevedore'},
                'eventlet': {'eventlet'},
                'fixtures': {'fixtures'},
            },
            required,
        )
        self.assertLessEqual(
            {'eventlet', 'fixtures'},
            set(self.metadata.get_all('Provides-Extra')),
        )

    def test_python_and_licence(self):
        self.assertEqual('>=3.11', self.metadata['Requires-Python'])
        self.assertEqual('Apache-2.0', self.metadata['License-Expression'])
        self.assertIn('Apache License', self.files['licenses/LICENSE'])
