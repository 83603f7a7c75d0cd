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

"""Close what a backend has started, at the latest when the process ends.

atexit calls last what was registered first. weakref.finalize registers itself
when it is first used, which may be after a service has registered the stop of
its runner: then the workers would be killed before that stop could wait for
them. This module registers itself when the package is imported, which is
before anything that a service can register.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
import contextlib
import sys
from typing import Any
import weakref

_finalizers: list[weakref.finalize[Any, Any]] = []


def close_with(owner: object, close: Callable[[], object]) -> None:
    """Call a function once an object is garbage, or when the process ends.

    :param owner: the object.
    :param close: the function; it does not refer to the object. In a forked
        child of this process it is called, too.
    """
    finalizer = weakref.finalize(owner, close)
    finalizer.atexit = False
    for ended in [each for each in _finalizers if not each.alive]:
        with contextlib.suppress(ValueError):  # Another thread was faster.
            _finalizers.remove(ended)
    _finalizers.append(finalizer)


@atexit.register
def _close_all() -> None:
    while _finalizers:
        try:
            _finalizers.pop()()
        except Exception:
            sys.excepthook(*sys.exc_info())
