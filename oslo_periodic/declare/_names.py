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

"""Suggest the known name that a mistyped one resembles most."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the known name that is most similar to a mistyped one.

    :param name: the name as typed.
    :param known: the names that exist.
    :param cutoff: the least similarity, from 0 (any name) to 1 (the same
        name).
    :returns: None if no name is similar enough.
    """
    # Imported on demand: difflib takes milliseconds, and typos are rare.
    import difflib

    found = difflib.get_close_matches(name, sorted(known), 1, cutoff)
    return found[0] if found else None
