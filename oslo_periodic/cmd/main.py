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

"""The entry point of the command ``oslo-periodic``."""

from __future__ import annotations

import os
import signal
import sys

from oslo_periodic import exceptions

#: The exit code of a shell for a command that SIGPIPE has ended.
_SIGPIPE = 128 + signal.SIGPIPE


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; None means those of the process.
    :returns: the exit code.
    """
    wrong_backend: exceptions.PeriodicError | None = None
    try:
        # Imported here because the import fails if the environment names an
        # unknown backend.
        from oslo_periodic.cmd import _app
    except exceptions.PeriodicError as exc:
        # Some commands work all the same, such as the one that lists the
        # backends.
        wrong_backend = exc
        os.environ.pop('OS_OSLO_PERIODIC__BACKEND', None)
        from oslo_periodic.cmd import _app
    application = _app.PeriodicApp(wrong_backend)
    code: int = application.run(sys.argv[1:] if argv is None else argv)
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would fail to flush it, too, and exit with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE
    return code


if __name__ == '__main__':
    sys.exit(main())
