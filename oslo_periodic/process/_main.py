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

"""The program's main module, in the parent and in worker processes."""

from __future__ import annotations

import os
import sys

#: True in a worker process while it imports the program's main module.
importing = False
#: The main module that this process has, as `describe` gave it elsewhere.
_imported: dict[str, str] | None = None


def describe() -> dict[str, str]:
    """Describe where a worker process finds the main module of this one.

    The rules are those of multiprocessing's spawn; its own function for it
    would fix the start method of the application.

    :returns: a name or a path; empty if there is neither.
    """
    main = sys.modules.get('__main__')
    spec = getattr(main, '__spec__', None)
    if spec is not None and spec.name:
        return {'name': spec.name}
    path = getattr(main, '__file__', None)
    # A program read from standard input may have a __file__ that is no file.
    if not path or not os.path.isfile(path):
        return {}
    return {'path': os.path.abspath(path)}


def ensure(main: dict[str, str]) -> None:
    """Make the program's main module the one of this process, too.

    multiprocessing imports it in each of its processes, under the name
    ``__mp_main__``; here only a class that is defined there makes it
    necessary.

    :param main: as `describe` gave it in the parent.
    :raises ImportError: if it cannot be imported.
    """
    global importing, _imported

    if main and main == _imported:
        return
    # multiprocessing may have imported it before, or this process was forked.
    if main and main == describe():
        _imported = main
        return
    if not main:
        raise ImportError(
            'the main program has no file that a worker process could import '
            '(it is interactive, a notebook, or read from standard input): '
            'put the class into a module'
        )
    from multiprocessing import spawn

    importing = True
    try:
        spawn.prepare({f'init_main_from_{key}': main[key] for key in main})
    except BaseException as exc:
        raise ImportError(
            f'the main program {main} cannot be imported in a worker process '
            f'({type(exc).__name__}: {exc}); put the code that it runs '
            "below: if __name__ == '__main__'"
        ) from exc
    finally:
        importing = False
    _imported = main
