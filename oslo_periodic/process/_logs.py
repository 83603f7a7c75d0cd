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

"""Log records on their way from the workers to the parent's handlers."""

from __future__ import annotations

import collections
import contextlib
import copy
import logging
import pickle
import threading
from typing import Any

from oslo_periodic.process import _wire

#: Seconds that the end of the process waits for a handler.
_DRAIN_TIMEOUT = 2.0
#: Bytes of records that may wait for the handlers.
_MAX_WAITING = 16 << 20


def levels() -> dict[str, int]:
    """Return the level of each logger of this process that has one."""
    found = {
        name: logger.level
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    }
    found[''] = logging.root.level
    return found


def apply_levels(wanted: dict[str, int], disabled: int) -> None:
    """Set exactly the levels of the parent in a worker."""
    for name in levels():
        if name and name not in wanted:
            logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in wanted.items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(disabled)


class ForwardingHandler(logging.Handler):
    """Sends the records of a worker to the parent."""

    def __init__(self, sender: _wire.Sender, process_name: str) -> None:
        super().__init__()
        self._sender = sender
        self._process_name = process_name
        #: The full name of the task that runs.
        self.task: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; attributes that cannot be pickled become texts."""
        try:
            self._sender.send('log', pickle.dumps(self._prepare(record)))
        except Exception:
            self.handleError(record)

    def _prepare(self, record: logging.LogRecord) -> dict[str, Any]:
        record = copy.copy(record)
        record.message = record.getMessage()
        record.msg, record.args = record.message, None
        if record.exc_info:
            formatter = self.formatter or logging.Formatter()
            record.exc_text = record.exc_text or formatter.formatException(
                record.exc_info
            )
            record.exc_info = None
        record.processName = self._process_name
        record.periodic_task = self.task
        return {key: _sendable(v) for key, v in vars(record).items()}


def _sendable(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301
    except Exception:
        return repr(value)
    return value


class Collector:
    """Hands records to the parent's handlers, in a thread of its own.

    A handler that blocks delays the records behind it, and nothing else. The
    thread ends when no records are left. Records are dropped, and counted,
    once those that wait take too much memory, until half of them are handled.
    """

    def __init__(self) -> None:
        #: Records, and how many were dropped before the next one.
        self._waiting: collections.deque[bytes | int]
        self._waiting = collections.deque()
        self._size = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, record: bytes) -> None:
        """Add a record that a worker has sent."""
        with self._lock:
            limit = _MAX_WAITING // 2 if self._dropped else _MAX_WAITING
            if self._size and self._size + len(record) > limit:
                self._dropped += 1
                return
            if self._dropped:
                self._waiting.append(self._dropped)
                self._dropped = 0
            self._waiting.append(record)
            self._size += len(record)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._handle_all, name='periodic-logs', daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # The next record retries it.

    def drain(self) -> None:
        """Wait for the records to be handled, for a limited time."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_DRAIN_TIMEOUT)

    def _handle_all(self) -> None:
        while True:
            with self._lock:
                item = self._next()
                if item is None:
                    self._thread = None
                    return
            # A handler may raise whatever it likes, while it logs an error,
            # too; the records behind it are not for it to stop.
            with contextlib.suppress(Exception):
                if isinstance(item, int):
                    _log_dropped(item)
                else:
                    _handle(item)

    def _next(self) -> bytes | int | None:
        if not self._waiting:
            dropped, self._dropped = self._dropped, 0
            return dropped or None
        item = self._waiting.popleft()
        if isinstance(item, bytes):
            self._size -= len(item)
        return item


def _log_dropped(count: int) -> None:
    logging.getLogger(__name__).warning(
        '%d log records of worker processes were dropped here: the handlers '
        'of this process are slower than the tasks that log',
        count,
    )


def _handle(data: bytes) -> None:
    try:
        record = logging.makeLogRecord(_wire.load(data))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:
        logging.getLogger(__name__).exception(
            'A log record of a worker process could not be handled'
        )
