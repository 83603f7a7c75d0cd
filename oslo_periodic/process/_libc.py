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

"""System calls of a worker that the standard library does not have.

Where Python is built without ctypes, a worker does without them.
"""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    import ctypes

    class _Stack(ctypes.Structure):
        """stack_t."""

        _fields_ = (
            ('start', ctypes.c_void_p),
            ('flags', ctypes.c_int),
            ('size', ctypes.c_size_t),
        )

    _libc = ctypes.CDLL(None)
    _signal_stack = ctypes.create_string_buffer(1 << 18)

#: From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Have the kernel give this process the orphans of its descendants.

    So the parent finds all that a run has started; see `_tree`.
    """
    with contextlib.suppress(NameError):
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def enlarge_signal_stack() -> None:
    """Let signal handlers interrupt each other.

    Python's handlers run on the stack that faulthandler has made: about 20
    KiB, which five signals at a time exceed.
    """
    with contextlib.suppress(NameError):
        address = ctypes.addressof(_signal_stack)
        stack = _Stack(address, 0, len(_signal_stack))
        _libc.sigaltstack(ctypes.byref(stack), None)
