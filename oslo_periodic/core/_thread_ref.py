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


"""Where a thread of execution is, seen from another one."""

from __future__ import annotations

import inspect
import sys
import threading
import traceback
from types import FrameType
from typing import Any


class Place:
    """The native or green thread that makes it."""

    __slots__ = ('_greenlet', '_thread')

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        # Where greenlet is not loaded there are no green threads; this
        # imports nothing.
        greenlet: Any = sys.modules.get('greenlet')
        current = greenlet and greenlet.getcurrent()
        # A native thread has a greenlet, too, which has no parent.
        self._greenlet = current if current and current.parent else None

    def frame(self) -> FrameType | None:
        """Return the frame that it executes, if it can be had."""
        if self._greenlet is None:
            return sys._current_frames().get(self._thread)
        if self._greenlet is sys.modules['greenlet'].getcurrent():
            # It has no frame of its own while it is the current one.
            return sys._getframe()
        frame: FrameType | None = self._greenlet.gr_frame
        return frame

    def stack(self) -> str:
        """Return its stack, as a traceback prints it."""
        frame = self.frame()
        if frame is None:
            return '(unknown)'
        return ''.join(traceback.format_stack(frame)).rstrip()

    def line(self, function: Any) -> str | None:
        """Say in a line where it is.

        :param function: a call of this is what is of interest.
        :returns: the innermost frame in the file of that function, which
            tells more than where in a library it waits, and the innermost of
            all; None if it cannot be had.
        """
        innermost = frame = self.frame()
        if innermost is None:
            return None
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
