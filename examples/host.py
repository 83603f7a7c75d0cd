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

"""Read the state of this host from /proc, its disks and its packages."""

from __future__ import annotations

from collections.abc import Iterator
import glob
import importlib.metadata
import logging
import os
import pathlib
import re
import resource

LOG = logging.getLogger(__name__)


def load() -> tuple[float, ...]:
    """Return the load averages over 1, 5 and 15 minutes."""
    averages = pathlib.Path('/proc/loadavg').read_text().split()[:3]
    return tuple(float(average) for average in averages)


def memory() -> tuple[int, ...]:
    """Return the total and the available memory, in bytes."""
    lines = pathlib.Path('/proc/meminfo').read_text().splitlines()
    fields = dict(line.split(':') for line in lines)
    return tuple(
        int(fields[name].split()[0]) * 1024
        for name in ('MemTotal', 'MemAvailable')
    )


def processes() -> Iterator[tuple[str, str, int, int]]:
    """Yield the name, state, threads and resident bytes of each process."""
    for path in glob.iglob('/proc/[0-9]*/stat'):
        try:
            text = pathlib.Path(path).read_text(errors='replace')
        except (FileNotFoundError, ProcessLookupError):
            continue  # The process has ended.
        # The name is in brackets and may contain brackets; see proc(5).
        head, _, tail = text.rpartition(') ')
        fields = tail.split()
        size = int(fields[21]) * resource.getpagesize()
        yield head.partition('(')[2], fields[0], int(fields[17]), size


def open_files() -> int:
    """Return the number of open files of all accessible processes."""
    return len(glob.glob('/proc/[0-9]*/fd/*'))


def disks() -> Iterator[tuple[str, str, int, int]]:
    """Yield the mount point, type, size and free bytes of file systems.

    Network file systems are left out, because statvfs may block on them.
    """
    kinds = {'overlay', 'zfs'}
    for line in pathlib.Path('/proc/filesystems').read_text().splitlines():
        flag, _, kind = line.partition('\t')
        if not flag:
            kinds.add(kind)
    seen = set()
    text = pathlib.Path('/proc/self/mounts').read_text(errors='replace')
    for line in text.splitlines():
        _, mount, kind, *_ = line.split(' ')
        if kind not in kinds and mount != '/':
            continue
        # A blank in a name is escaped as \040.
        mount = re.sub(r'\\(\d{3})', lambda code: chr(int(code[1], 8)), mount)
        try:
            device, space = os.stat(mount).st_dev, os.statvfs(mount)
        except OSError as exc:
            LOG.info(
                'Skipped %(mount)s: %(exc)s', {'mount': mount, 'exc': exc}
            )
            continue
        if device not in seen:
            seen.add(device)
            unit = space.f_frsize
            yield mount, kind, space.f_blocks * unit, space.f_bavail * unit


def packages() -> dict[str, str]:
    """Return the versions of the installed packages, by name."""
    return {
        found.name: found.version
        # Reversed: of several versions, Python imports the first.
        for found in reversed([*importlib.metadata.distributions()])
        if found.name
    }
