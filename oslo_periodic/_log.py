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

"""Loggers that never fail what they report.

A service may install filters, handlers or record factories that raise. The
standard library suppresses errors of a handler's ``emit`` only, so one such
error in the timer would end all periodic tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
import logging
import sys
from typing import Any


class SafeLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls raise no Exception."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a message; an error of logging is written to stderr."""
        # The caller's frame is the one above this method.
        kwargs.setdefault('stacklevel', 2)
        try:
            if self.isEnabledFor(level):
                self.logger.log(level, msg, *args, **kwargs)
        except Exception as exc:
            _write(msg, args, exc)


def get_logger(name: str) -> SafeLogger:
    """Return a safe logger of a name."""
    return SafeLogger(logging.getLogger(name), None)


def _write(msg: object, args: tuple[object, ...], exc: Exception) -> None:
    """Write a record that cannot be logged to stderr, if possible."""
    try:
        values = args[0] if args and isinstance(args[0], Mapping) else args
        text = str(msg) % values if values else str(msg)
        sys.stderr.write(
            f'oslo.periodic cannot log ({type(exc).__name__}): {text}\n'
        )
    except Exception:  # noqa: S110 # nosec B110
        pass  # There is nowhere left to report it.
