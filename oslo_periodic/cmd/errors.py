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

"""Errors that the command reports without a traceback."""

from oslo_periodic.cmd import _text


class UserError(Exception):
    """An error that is reported as one line: its message."""

    def __init__(self, message: str) -> None:
        """Clean the message, which may quote another process."""
        super().__init__(_text.clean(message))


def one_line(exc: BaseException) -> str:
    """Return the class and the text of an exception as one line."""
    text = ' '.join(str(exc).split())
    return f'{type(exc).__name__}: {text}' if text else type(exc).__name__
