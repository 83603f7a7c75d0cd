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

"""Print which part of the lines in each folder the tests reach.

coverage json -o FILE && python tools/cover_folders.py FILE
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib

#: Per cent of a folder's lines; less is marked.
_GOAL = 90


def main() -> None:
    """Add up a report of coverage, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('report', type=pathlib.Path)
    files = json.loads(parser.parse_args().report.read_text())['files']
    lines: collections.Counter[str] = collections.Counter()
    reached: collections.Counter[str] = collections.Counter()
    for path, file in files.items():
        folder = str(pathlib.PurePath(path).parent)
        lines[folder] += file['summary']['num_statements']
        reached[folder] += file['summary']['covered_lines']
    print(f'{"Folder":<30}{"Lines":>7}{"Missed":>8}{"Reached":>9}')
    for folder in sorted(lines):
        missed = lines[folder] - reached[folder]
        percent = 100 * reached[folder] / (lines[folder] or 1)
        mark = f'  below {_GOAL}%' if percent < _GOAL else ''
        print(f'{folder:<30}{lines[folder]:7}{missed:8}{percent:8.1f}%{mark}')


if __name__ == '__main__':
    main()
