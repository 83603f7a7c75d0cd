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

"""Descriptors that leave the standard ones, 0 to 2, alone."""

from __future__ import annotations

import fcntl
import os


def above_standard(fd: int) -> int:
    """Move a descriptor off 0 to 2, where it lands if those are closed."""
    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def pipe() -> tuple[int, int]:
    """Make a pipe; return its read end and its write end."""
    read, write = os.pipe()
    return above_standard(read), above_standard(write)


def memory_file(name: str, data: bytes | memoryview = b'') -> int:
    """Make a file in memory.

    :param name: what /proc shows.
    :param data: its content.
    """
    fd = above_standard(os.memfd_create(name))
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        # Its reader shares the offset.
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
