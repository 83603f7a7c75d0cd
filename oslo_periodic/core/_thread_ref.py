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


"""Find the stack of a thread of execution from another one."""

from __future__ import annotations

import inspect
import sys
import threading
import traceback
from types import FrameType
from typing import Protocol


class _Greenlet(Protocol):
    gr_frame: FrameType | None


class ThreadRef:
    """Refers to the native or green thread that makes it."""

    __slots__ = ('_greenlet', '_thread')

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._greenlet: _Greenlet | None = None
        # Without greenlet in sys.modules there are no green threads, so
        # nothing has to be imported.
        greenlet = sys.modules.get('greenlet')
        if greenlet is not None:
            current = greenlet.getcurrent()
            # The greenlet of a native thread has no parent.
            self._greenlet = current if current.parent else None

    @property
    def is_green(self) -> bool:
        """Whether this is a green thread."""
        return self._greenlet is not None

    def frame(self) -> FrameType | None:
        """Return the frame that the thread executes; None if unknown."""
        if self._greenlet is None:
            return sys._current_frames().get(self._thread)
        if self._greenlet is sys.modules['greenlet'].getcurrent():
            # A greenlet has no frame of its own while it is the current one.
            return sys._getframe()
        return self._greenlet.gr_frame

    def stack(self) -> str:
        """Return the stack of the thread, formatted as in a traceback."""
        frame = self.frame()
        if frame is None:
            return '(unknown)'
        return ''.join(traceback.format_stack(frame)).rstrip()

    def line(self, function: object) -> str | None:
        """Name the source line that the thread executes.

        :param function: the function of interest.
        :returns: the innermost frame in the file of that function, which says
            more than the library call in which it waits, and the innermost
            frame of all; None if unknown.
        """
        innermost = frame = self.frame()
        if innermost is None:
            return None
        code = None
        if callable(function):
            code = getattr(inspect.unwrap(function), '__code__', None)
        while frame is not None and (
            code is None or frame.f_code.co_filename != code.co_filename
        ):
            frame = frame.f_back
        if frame is None or frame is innermost:
            return _describe(innermost)
        return f'{_describe(frame)}, in {_describe(innermost)}'


def _describe(frame: FrameType) -> str:
    code = frame.f_code
    return f'{code.co_name} ({code.co_filename}:{frame.f_lineno})'
