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

"""Keep what a run leaves around from the next run.

A task may set context variables, or make an ``oslo_context`` RequestContext,
which stores itself for the thread. Neither may reach the next task of the same
thread: oslo.log would write the request id of one task on the lines of
another.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import contextvars
import sys
from typing import Any

from oslo_periodic.core import _schedule


def call_fresh(
    function: _schedule.Function,
    instance: object,
    make_context: _schedule.Function,
    *variables: contextvars.ContextVar[Any],
) -> None:
    """Call a task in a context of its own; for workers.

    :param function: the function of the task.
    :param instance: its first argument.
    :param make_context: returns its second argument; it is called in the
        context of the run, so that it can set it up.
    :param variables: the variables whose values the run keeps.
    """
    context = contextvars.Context()
    for variable in variables:
        context.run(variable.set, variable.get())
    with _request_context(None):
        context.run(_call, function, instance, make_context)


def _call(
    function: _schedule.Function,
    instance: object,
    make_context: _schedule.Function,
) -> None:
    function(instance, make_context())


def call_in_copy(
    function: _schedule.Function, instance: object, context: object
) -> None:
    """Call a task in a copy of the caller's context; for ticks.

    :param function: the function of the task.
    :param instance: its first argument.
    :param context: its second argument.
    """
    module = sys.modules.get('oslo_context.context')
    if module is None:
        contextvars.copy_context().run(function, instance, context)
        return
    with _request_context(module.get_current()):
        contextvars.copy_context().run(function, instance, context)


@contextlib.contextmanager
def _request_context(during: object) -> Iterator[None]:
    """Set the current RequestContext of oslo.context for a run.

    :param during: the RequestContext; None: there is none. The one that was
        there before is restored.
    """
    module = sys.modules.get('oslo_context.context')
    # oslo.context has no public way to remove the current one.
    store = getattr(module, '_request_store', None)
    before = getattr(store, 'context', None)
    if store is not None:
        _set(store, during)
    try:
        yield
    finally:
        # The task may have imported the module.
        module = sys.modules.get('oslo_context.context')
        store = getattr(module, '_request_store', None)
        if store is not None:
            _set(store, before)


def _set(store: object, context: object) -> None:
    if context is not None:
        store.context = context  # type: ignore[attr-defined]
    elif hasattr(store, 'context'):
        del store.context
