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


#: Characters of a mistyped name that are compared.
_COMPARED = 200
#: The most known names that are compared.
_MOST_KNOWN = 2000


def nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the known name that is most similar to a mistyped one.

    The case of letters does not matter.

    :param name: the name as typed.
    :param known: the names that exist; of very many, only the first are
        compared.
    :param cutoff: the least similarity, from 0 (any name) to 1 (the same
        name).
    :returns: None if no name is similar enough.
    """
    # Imported on demand: difflib takes milliseconds, and typos are rare.
    import difflib

    lowered = {item.lower(): item for item in sorted(known)}
    typed = name.lower()
    if typed in lowered:
        return lowered[typed]
    found = difflib.get_close_matches(
        typed[:_COMPARED], list(lowered)[:_MOST_KNOWN], 1, cutoff
    )
    return lowered[found[0]] if found else None
