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


"""Read the settings of tasks: deferred values, their groups, the defaults."""

from __future__ import annotations

from collections.abc import Mapping
import os
import types

from oslo_config import cfg

from oslo_periodic.config import _lookup
from oslo_periodic.config import _options
from oslo_periodic.core import _settings
from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic import opts


#: The options that a group sets which no source has.
_NOTHING: Mapping[str, object] = types.MappingProxyType({})


class SettingsReader:
    """Reads the settings of the tasks of one class."""

    def __init__(
        self,
        conf: object,
        class_name: str,
        last: _policy.Policy | None = None,
    ) -> None:
        """Read the defaults.

        :param conf: the configuration; an object that is no ConfigOpts has no
            groups.
        :param class_name: the name of the class.
        :param last: the defaults read before, which are kept where the
            configuration has become invalid.
        :raises ValueError: if the configuration is invalid and there are no
            defaults read before.
        """
        self._conf = conf
        self._class_name = class_name
        self._groups = None
        #: The defaults for tasks for which no source sets others.
        self.defaults = _policy.DEFAULT
        if isinstance(conf, cfg.ConfigOpts):
            self._groups = _Groups(conf)
            self.defaults = _read_defaults(conf, class_name, last)
        #: By spacing, the settings of tasks that set nothing else: most
        #: tasks share one object with others.
        self._shared: dict[_task.Spacing, _settings.TaskSettings] = {}
        self._equal: dict[_settings.TaskSettings, _settings.TaskSettings] = {}

    @property
    def configurable(self) -> bool:
        """Whether tasks have groups in this configuration."""
        return self._groups is not None

    def read(
        self, task: _task.Task, spacing: _task.Spacing
    ) -> _settings.TaskSettings:
        """Return how a task is run.

        :param task: its description.
        :param spacing: the spacing that its class declares.
        :raises InvalidPeriodicTaskArg: naming a value that is invalid.
        """
        group = _NOTHING
        if self._groups is not None:
            group = self._groups.read(self._class_name, task.name)
        if (
            group is _NOTHING
            and task.enabled is True
            and task.policy is _policy.UNSET
            and type(spacing) in (int, float)
        ):
            # Nearly all tasks, at the cost of one look-up.
            return self._plain(spacing, task.name)
        return self._read(task, spacing, dict(group))

    def _plain(
        self, spacing: _task.Spacing, name: str
    ) -> _settings.TaskSettings:
        found = self._shared.get(spacing)
        if found is None:
            found = _settings.TaskSettings(
                _task.normal_spacing(spacing, name), True, self.defaults
            )
            found = self._equal.setdefault(found, found)
            self._shared[spacing] = found
        return found

    def _read(
        self,
        task: _task.Task,
        spacing: _task.Spacing,
        group: dict[str, object],
    ) -> _settings.TaskSettings:
        set_spacing = group.pop('spacing', None)
        if set_spacing is None:
            set_spacing = _lookup.resolve(
                spacing, 'spacing', task.name, self._conf
            )
        enabled = group.pop('enabled', None)
        if enabled is None:
            enabled = self._declared_enabled(task)
        policy = self.defaults
        if group or task.policy is not _policy.UNSET:
            merged = _policy.merge(
                _policy.declare(task.name, **group),
                task.policy,
                self.defaults,
            )
            policy = policy if merged == policy else merged
        settings = _settings.TaskSettings(
            _task.normal_spacing(set_spacing, task.name),
            bool(enabled),
            policy,
        )
        return self._equal.setdefault(settings, settings)

    def _declared_enabled(self, task: _task.Task) -> object:
        enabled = _lookup.resolve(
            task.enabled, 'enabled', task.name, self._conf
        )
        if _deferred.is_deferred(task.enabled) and not isinstance(
            enabled, bool
        ):
            raise exceptions.InvalidPeriodicTaskArg(
                f'The enabled of the periodic task {task.name!r} must be a '
                f'bool, and {_deferred.describe(task.enabled)} gives '
                f'{enabled!r}.'
            )
        return enabled

    def first_last_run(
        self, task: _task.Task, settings: _settings.TaskSettings, now: float
    ) -> float | None:
        """Return the last run that a task starts with.

        :param task: its description.
        :param settings: how it is run.
        :param now: the current time.
        :returns: None if the task is due at once.
        """
        if settings.policy.spread:
            return self.spread_last_run(task.name, settings.spacing, now)
        return None if task.immediate else now

    def spread_last_run(self, name: str, spacing: float, now: float) -> float:
        """Return the last run that gives a task a phase of its own.

        :param name: the task's name.
        :param spacing: seconds.
        :param now: the current time: the next run is within a spacing.
        """
        wait = _phase(self._host(), f'{self._class_name}.{name}', spacing)
        return now + wait - spacing

    def _host(self) -> str:
        """Return the service's option ``host``, or the name of the host."""
        host = getattr(self._conf, 'host', None)
        if isinstance(host, str):
            return host
        # Imported on demand: most services spread no task.
        import socket

        return socket.gethostname()


def _read_defaults(
    conf: cfg.ConfigOpts, class_name: str, last: _policy.Policy | None
) -> _policy.Policy:
    if last is None:
        values = [
            _options.value_of(conf, opts.GROUP, option)
            for option in opts.default_opts
        ]
    else:
        values = [
            _options.read(conf, option, value, class_name)
            for option, value in zip(opts.default_opts, last, strict=True)
        ]
    names = _policy.Policy._fields
    declared = _policy.declare(
        'default', **dict(zip(names, values, strict=True))
    )
    policy = _policy.merge(_policy.UNSET, declared, _policy.DEFAULT)
    return _policy.DEFAULT if policy == _policy.DEFAULT else policy


class _Groups:
    """The groups of tasks in a configuration.

    A group of options costs some 2.5 KB and the look-up of each option in
    every source. So a group is registered only where a source may set one of
    its options.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        prefix = opts.TASK_GROUP
        self._sections = {
            section.lower()
            for section in conf.list_all_sections()
            if section.lower().startswith(prefix)
        }
        #: Groups that the service or a test has registered.
        self._registered = {name for name in conf if name.startswith(prefix)}
        # Other sources cannot list what they have.
        self._any = bool(getattr(conf, '_sources', None)) or any(
            f'OS_{prefix}'.upper() in name.upper() for name in os.environ
        )

    def read(self, class_name: str, task_name: str) -> Mapping[str, object]:
        """Return the options that the group of a task sets.

        :raises InvalidPeriodicTaskArg: if a value is invalid.
        """
        if not (self._any or self._sections or self._registered):
            return _NOTHING
        group = opts.task_group(class_name, task_name)
        conf = self._conf
        if not (
            self._any
            or group.lower() in self._sections
            or group in self._registered
        ):
            return _NOTHING
        opts.register_task(conf, class_name, task_name)
        try:
            found = {
                option.dest: _options.value_of(conf, group, option)
                for option in opts.task_opts
            }
        except ValueError as exc:
            raise exceptions.InvalidPeriodicTaskArg(
                f'Invalid value in the group [{group}]: {exc}'
            ) from exc
        return {k: value for k, value in found.items() if value is not None}


def _phase(host: str, full_name: str, spacing: float) -> float:
    """Return the seconds from the start of a service to a first run.

    They do not depend on when the service starts, and are spread evenly over
    hosts and tasks.

    :param host: the name of the host.
    :param full_name: the class and the name of the task.
    :param spacing: seconds.
    :returns: seconds, from 0 to less than ``spacing``.
    """
    # Imported on demand: most services spread no task.
    import hashlib

    digest = hashlib.blake2b(f'{host} {full_name}'.encode(), digest_size=6)
    return int.from_bytes(digest.digest()) / 2**48 * spacing
