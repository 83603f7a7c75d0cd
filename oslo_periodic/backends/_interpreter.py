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

"""Which interpreter new processes run."""

from __future__ import annotations

import os
import sys

_NAME_ONE = (
    'name an interpreter with multiprocessing.set_executable, or run no '
    'tasks in processes'
)

_ORIGINAL = sys.executable


def executable() -> str:
    """Return the path of the interpreter for new processes.

    It is that of multiprocessing, so that a program which needs another one
    than ``sys.executable`` (uWSGI, an embedded Python) says so once.

    :raises OSError: if there is none; its text says what to do.
    """
    # Only a program that has loaded it may have named an interpreter.
    spawn = sys.modules.get('multiprocessing.spawn')
    named = os.fsdecode(spawn and spawn.get_executable() or '')
    # Unless one is named, it has what sys.executable was at its import.
    path = sys.executable if named in ('', _ORIGINAL) else named
    if not path:
        raise OSError(f'sys.executable is not set: {_NAME_ONE}')
    if getattr(sys, 'frozen', False) and path == sys.executable:
        raise OSError(
            f'this program is frozen, so {path} would start the program once '
            f'more instead of an interpreter: {_NAME_ONE}'
        )
    return path
