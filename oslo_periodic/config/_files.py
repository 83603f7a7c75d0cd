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

"""What configuration files set, whether or not an option is registered."""

from __future__ import annotations

import os
import pathlib

from oslo_config import cfg

_Sections = dict[str, dict[str, list[str]]]


def sections(conf: cfg.ConfigOpts) -> _Sections:
    """Return the options of each section of all files."""
    found: _Sections = {}
    for path in _paths(conf):
        _parse(path, found)
    return found


def place_of(conf: cfg.ConfigOpts, group: str, option: cfg.Opt) -> str:
    """Return the place that sets an option, for the text of an error.

    oslo.config knows the place too, but not for each source.
    """
    variable = f'OS_{group}__{option.dest}'.upper()
    if variable in os.environ and getattr(conf, '_use_env', True):
        return f'the environment variable {variable}'
    spellings = {option.name, option.dest}
    for path in reversed(_paths(conf)):
        found: _Sections = {}
        _parse(path, found)
        for section, values in found.items():
            if section.lower() == group.lower() and spellings & {*values}:
                return str(path)
    return 'the configuration'


def _paths(conf: cfg.ConfigOpts) -> list[pathlib.Path]:
    paths = [pathlib.Path(path) for path in conf.config_file or ()]
    for directory in conf.config_dir or ():
        paths += sorted(pathlib.Path(directory).glob('*.conf'))
    return paths


def _parse(path: pathlib.Path, found: _Sections) -> None:
    try:
        cfg.ConfigParser(str(path), found).parse()
    except (OSError, cfg.ParseError, UnicodeDecodeError):
        pass  # oslo.config reports it when it parses the file itself.
