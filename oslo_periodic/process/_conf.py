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

"""How a ConfigOpts gets into a worker.

Most can be pickled, from oslo.config 10.6 on. One that cannot (nova's has
lambdas for option types) is sent as what it was made from: project,
arguments, files and overrides. The worker makes it again from these; by then
the modules of the service, from which the class of the instance is imported,
have registered their options there. An option that cannot be pickled, and
that no module has registered there, has its current value. Mutate hooks are
lost in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import copy
import pickle
from typing import Any

from oslo_config import cfg
from oslo_config import types

#: The pickle from which ``cfg.CONF`` was last made in this worker.
_applied: bytes | None = None


class CarriedOpt(cfg.Opt):
    """Stands for an option that cannot be pickled, and has its value.

    It gives way to the option itself, which a module may register later, and
    so counts as equal to it.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, cfg.Opt) and other.dest == self.dest

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = object.__hash__


class _AsIs(types.ConfigType):
    """Takes a value as it is; the type of an option that is carried."""

    def __init__(self) -> None:
        super().__init__(type_name='carried value')

    def __call__(self, value: object) -> object:
        return value

    def _formatter(self, value: object) -> str:
        return str(value)


def reduce(obj: object) -> object:
    """Reduce a ConfigOpts; for a pickler's ``reducer_override``."""
    if not isinstance(obj, cfg.ConfigOpts):
        return NotImplemented
    is_global = obj is cfg.CONF
    try:
        return _restore, (pickle.dumps(obj), is_global)
    except Exception:
        recipe = pickle.dumps(_recipe(obj))
        return _remake, (recipe, is_global)


def _restore(data: bytes, is_global: bool) -> cfg.ConfigOpts:
    global _applied

    if not is_global:
        conf: cfg.ConfigOpts = pickle.loads(data)  # noqa: S301
        return conf
    if data != _applied:
        known = list(_infos(cfg.CONF))
        pickle.loads(data)  # noqa: S301
        _applied = data
        # A task may have imported a module here that the parent has not.
        for group, _name, info in known:
            _register(cfg.CONF, group, info['opt'], False)
    return cfg.CONF


def _remake(data: bytes, is_global: bool) -> cfg.ConfigOpts:
    global _applied

    if is_global and data == _applied:
        return cfg.CONF
    recipe = pickle.loads(data)  # noqa: S301
    conf = cfg.CONF if is_global else cfg.ConfigOpts()
    conf.clear()
    for group, opt, is_cli in recipe['opts']:
        _register(conf, group, opt, is_cli)
    if recipe['args'] is not None:
        conf(recipe['args'], **recipe['setup'])
    for group, name, value in recipe['carried']:
        opts = conf._groups[group]._opts if group else conf._opts
        if isinstance(opts[name]['opt'], CarriedOpt):
            _set(conf.set_override, name, value, group)
    for group, name, value in recipe['defaults']:
        _set(conf.set_default, name, value, group)
    for group, name, value in recipe['overrides']:
        _set(conf.set_override, name, value, group)
    if is_global:
        _applied = data
    return conf


def _register(
    conf: cfg.ConfigOpts, group: str | None, opt: cfg.Opt, is_cli: bool
) -> None:
    try:
        conf.register_opt(opt, group=group, cli=is_cli)
    except (cfg.DuplicateOptError, cfg.ArgsAlreadyParsedError):
        pass  # The modules that were imported here have registered it.


def _set(
    setter: Callable[..., None], name: str, value: object, group: str | None
) -> None:
    try:
        setter(name, value, group=group)
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        pass  # Registered by code that does not run in a worker.


def _recipe(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return what a ConfigOpts was made from, if it can be pickled.

    oslo.config has no public way to get the arguments and the options, so
    this reads the attributes that its own export_state reads.
    """
    setup = {
        name: getattr(conf, name, None)
        for name in ('project', 'prog', 'version', 'usage')
    }
    setup['default_config_files'] = list(getattr(conf, 'config_file', ()))
    setup['default_config_dirs'] = list(getattr(conf, 'config_dir', ()))
    setup['use_env'] = conf._use_env
    found: dict[str, Any]
    found = {'opts': [], 'carried': [], 'defaults': [], 'overrides': []}
    for group, name, info in _infos(conf):
        if name in ('config_file', 'config_dir'):
            continue
        opt = info['opt']
        if not _pickles(opt):
            opt = _carry(conf, group, opt, found['carried'])
        if opt is not None:
            found['opts'].append((group, opt, info['cli']))
        for kind, key in (('defaults', 'default'), ('overrides', 'override')):
            if key in info and _pickles(info[key]):
                found[kind].append((group, name, info[key]))
    args = None if conf._args is None else list(conf._args)
    return {'setup': setup, 'args': args, **found}


def _carry(
    conf: cfg.ConfigOpts,
    group: str | None,
    opt: cfg.Opt,
    carried: list[tuple[str | None, str, object]],
) -> cfg.Opt | None:
    """Note the value of an option that cannot be pickled.

    :returns: what stands for the option; None if it cannot be read here.
    :raises TypeError: if the value cannot be pickled, either.
    """
    if isinstance(opt, cfg.SubCommandOpt):
        return None
    try:
        value = (conf[group] if group else conf)[opt.dest]
    except Exception:
        return None  # Such as a wrong value: a task could not read it, too.
    if not _pickles(value):
        raise TypeError(
            f'neither the option {opt.name} in [{group or "DEFAULT"}] nor its '
            f'value, a {type(value).__qualname__}, can be pickled'
        )
    carried.append((group, opt.dest, value))
    stand_in = copy.copy(opt)
    stand_in.__class__ = CarriedOpt
    stand_in.type, stand_in.default = _AsIs(), None
    return stand_in


def _infos(conf: Any) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    for name, info in conf._opts.items():
        yield None, name, info
    for group in conf._groups.values():
        for name, info in group._opts.items():
            yield group.name, name, info


def _pickles(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
