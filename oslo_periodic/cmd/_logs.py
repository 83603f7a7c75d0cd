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

"""Log as the service does: by oslo.log, if it is installed."""

from __future__ import annotations

import contextlib
import logging
import sys

from oslo_config import cfg

from oslo_periodic.cmd import errors

#: The format without oslo.log.
_FORMAT = '%(asctime)s %(levelname)s %(name)s: %(message)s'


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options of oslo.log, before files are read."""
    with contextlib.suppress(ImportError):
        # Imported on demand: it is an optional package, and a slow import.
        from oslo_log import log

        log.register_options(conf)
        # The command is in the foreground; log_file comes in addition.
        conf.set_default('use_stderr', True)


def set_up(conf: cfg.ConfigOpts, reporter: logging.Logger) -> None:
    """Log by the options of oslo.log, or with time, level and logger.

    :param conf: the configuration; it has been read.
    :param reporter: the logger of user errors, which stay one line on
        standard error.
    :raises UserError: if oslo.log cannot be set up.
    """
    root = logging.getLogger()
    # The options of the command line.
    files = [h for h in root.handlers if isinstance(h, logging.FileHandler)]
    level = min((h.level for h in root.handlers), default=logging.INFO)
    console = logging.StreamHandler(sys.stderr)
    reporter.addHandler(console)
    reporter.propagate = False
    try:
        from oslo_log import log

        log.setup(conf, 'oslo-periodic')
    except ImportError:
        for handler in set(root.handlers) - set(files):
            handler.setFormatter(logging.Formatter(_FORMAT))
        return
    except Exception as exc:
        raise errors.UserError(
            f'oslo.log cannot be set up: {errors.one_line(exc)}'
        ) from exc
    if level > logging.INFO:
        for handler in root.handlers:
            handler.setLevel(level)
    elif level < logging.INFO:
        root.setLevel(level)
    for handler in files:
        root.addHandler(handler)
