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


"""The settings of one task, resolved from all sources."""

from __future__ import annotations

from typing import NamedTuple

from oslo_periodic.declare import _policy


class TaskSettings(NamedTuple):
    """How a task is run."""

    #: Seconds; negative disables.
    spacing: float
    enabled: bool = True
    policy: _policy.Policy = _policy.DEFAULT

    @property
    def why_inactive(self) -> str | None:
        """Why the task does not run; None if it does."""
        if self.spacing < 0:
            return 'its interval is negative'
        return None if self.enabled else 'it is disabled'

    def differences(self, new: TaskSettings) -> list[str]:
        """Return the changes to new settings, as ``name old -> new``."""
        pairs = zip(
            ('spacing', 'enabled', *_policy.Policy._fields),
            (self.spacing, self.enabled, *self.policy),
            (new.spacing, new.enabled, *new.policy),
            strict=True,
        )
        return [
            f'{name} {old} -> {value}'
            for name, old, value in pairs
            if old != value
        ]
