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


"""What the decorator and the configuration make of each task, together."""

from __future__ import annotations

import os
from typing import Any
from typing import NamedTuple

from oslo_config import cfg

from oslo_periodic.declare import _deferred
from oslo_periodic.config import _options
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic import opts


class Settings(NamedTuple):
    """How a task is run."""

    #: Seconds; negative disables.
    spacing: float
    enabled: bool = True
    #: With nothing left open.
    policy: _policy.Policy = _policy.DEFAULT

    @property
    def why_not(self) -> str | None:
        """Why the task is not to run; None if it is."""
        if self.spacing < 0:
            return 'its interval is negative'
        return None if self.enabled else 'it is disabled'

    def differences(self, new: Settings) -> list[str]:
        """Say what is another in new settings, as old -> new."""
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


class Reader:
    """Reads the settings of the tasks of one class."""

    def __init__(
        self,
        conf: Any,
        class_name: str,
        last: _policy.Policy | None = None,
    ) -> None:
        """Read the defaults.

        :param conf: the configuration; what is no ConfigOpts has no groups.
        :param class_name: the name of the class.
        :param last: the defaults that were read before, which hold where the
            configuration is wrong by now.
        :raises ValueError: if it is wrong, and nothing was read before.
        """
        self._conf = conf
        self._class_name = class_name
        #: Whether tasks have groups.
        self.configurable = isinstance(conf, cfg.ConfigOpts)
        self._silent = self.configurable and _says_nothing(conf)
        #: What holds for the tasks that nobody says anything else about.
        self.defaults = _policy.DEFAULT
        if last is not None:
            values = zip(opts.default_opts, last, strict=True)
            self.defaults = _policy.Policy(
                *(
                    _options.read(conf, option, value, class_name)
                    for option, value in values
                )
            )
        elif self.configurable:
            group = conf[opts.GROUP]
            self.defaults = _policy.Policy(
                *(group[option.dest] for option in opts.default_opts)
            )

    @property
    def host(self) -> str:
        """What tells this host from others: the service's option, if any."""
        # Here, as most services spread nothing.
        import socket

        host = getattr(self._conf, 'host', None)
        return host if isinstance(host, str) else socket.gethostname()

    def read(self, task: _task.Task, spacing: Any) -> Settings:
        """Return how a task is to be run.

        :param task: its description.
        :param spacing: the spacing that its class says.
        :raises InvalidPeriodicTaskArg: if what was said makes no sense.
        """
        said = self._read_group(task.name) if self.configurable else {}
        if said.get('spacing') is not None:
            spacing = said['spacing']
        spacing = _deferred.resolve(spacing, 'spacing', task.name, self._conf)
        enabled = said.get('enabled')
        if enabled is None:
            enabled = _deferred.resolve(
                task.enabled, 'enabled', task.name, self._conf
            )
            if _deferred.is_late(task.enabled) and not isinstance(
                enabled, bool
            ):
                raise exceptions.InvalidPeriodicTaskArg(
                    f'The enabled of the periodic task {task.name!r} must be '
                    f'a bool, and {_deferred.describe(task.enabled)} gives '
                    f'{enabled!r}.'
                )
        policy = self.defaults
        if said or task.policy is not _policy.UNSET:
            group = [said.get(name) for name in _policy.Policy._fields]
            merged = _policy.merge(
                _policy.Policy(*group), task.policy, self.defaults
            )
            # Most are equal, and then they are one.
            policy = policy if merged == policy else merged
        return Settings(
            _task.normal_spacing(spacing, task.name), bool(enabled), policy
        )

    def _read_group(self, task_name: str) -> dict[str, Any]:
        """Return the options of a task, which are registered by that."""
        group = opts.task_group(self._class_name, task_name)
        is_new = group not in self._conf
        for option in opts.task_opts:
            try:
                self._conf.register_opt(option, group=group)
            except cfg.DuplicateOptError:
                pass  # By the service, with the task's default in it.
        if is_new and self._silent:
            # Seven look-ups, which oslo.config remembers, for nothing.
            return {}
        values = self._conf[group]
        try:
            return {opt.dest: values[opt.dest] for opt in opts.task_opts}
        except (ValueError, cfg.Error, RecursionError) as exc:
            raise exceptions.InvalidPeriodicTaskArg(
                f'The group [{group}] says something that makes no sense: '
                f'{exc}'
            ) from exc


def _says_nothing(conf: Any) -> bool:
    """Say whether no group of a task can have been given a value.

    Code can only set what is registered, which `_read_group` looks at.
    """
    prefix = opts.TASK_GROUP
    return not (
        getattr(conf, '_sources', None)
        or any(s.lower().startswith(prefix) for s in conf.list_all_sections())
        or any(f'OS_{prefix}'.upper() in name.upper() for name in os.environ)
    )


def phase(host: str, full_name: str, spacing: float) -> float:
    """Return the seconds from the start of a service to a first run.

    They are the same whenever the service starts, and spread evenly over
    hosts and tasks.

    :param host: the name of the host.
    :param full_name: the class and the name of the task.
    :param spacing: seconds.
    :returns: seconds, from 0 to less than ``spacing``.
    """
    # Here, as most services spread nothing.
    import hashlib

    digest = hashlib.blake2b(f'{host} {full_name}'.encode(), digest_size=6)
    return int.from_bytes(digest.digest()) / 2**48 * spacing
