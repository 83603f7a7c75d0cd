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

"""Text for a terminal: without control characters; times and durations."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import unicodedata

#: The longest accepted duration in seconds: what system calls can wait.
_MOST_SECONDS = 1e8
#: Control and format characters, and lone surrogates.
_UNPRINTABLE = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')


def clean(text: str) -> str:
    """Return a text with its control characters as backslash escapes.

    A text of another process, such as the message of an exception, may
    contain sequences that change the terminal or imitate other output.
    """
    if text.isascii() and text.isprintable():
        return text
    return ''.join(
        character.encode('unicode_escape').decode()
        if unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in text
    )


def duration(seconds: float) -> str:
    """Return a duration with its two largest units, such as "2 d 23 h"."""
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f'{minutes} m {rest} s'
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f'{hours} h {minutes} m'
    days, hours = divmod(hours, 24)
    return f'{days} d {hours} h'


def relative(timestamp: str | None, now: str) -> str:
    """Return a time as seen from another one, such as "in 2 d 23 h".

    :param timestamp: the time in ISO 8601 format; None gives an empty text.
    :param now: the current time, in the same format. If it is on another day,
        the date is appended, in the time zone of the timestamp.
    """
    if not timestamp:
        return ''
    moment = datetime.datetime.fromisoformat(timestamp)
    present = datetime.datetime.fromisoformat(now)
    seconds = (moment - present).total_seconds()
    text = duration(abs(seconds))
    text = f'in {text}' if seconds > 0 else f'{text} ago'
    if moment.date() != present.date():
        text += f' ({moment:%Y-%m-%d %H:%M %Z})'
    return text


def seconds(text: str) -> float:
    """Convert an argument of the command line to seconds.

    :raises argparse.ArgumentTypeError: if it is not a number of seconds.
    """
    with contextlib.suppress(ValueError):
        number = float(text)
        if 0 <= number <= _MOST_SECONDS:
            return number
    raise argparse.ArgumentTypeError(
        f'{text!r} is not a finite number of seconds, from 0 to '
        f'{_MOST_SECONDS:g}'
    )
