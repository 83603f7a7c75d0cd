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

"""The errors of oslo.periodic, one class for each kind."""


class PeriodicError(Exception):
    """Base of every error that oslo.periodic raises itself."""


class InvalidPeriodicTaskArg(PeriodicError):
    """A periodic task has invalid arguments."""


class BackendError(PeriodicError):
    """Base of the errors about choosing and loading a backend."""


class UnknownBackend(BackendError):
    """No installed distribution provides a backend of this name."""


class BackendDependencyMissing(BackendError):
    """The backend exists, but a package that it needs is not installed."""


class BackendLoadError(BackendError):
    """The backend's own code failed while it was loaded."""


class BackendNameConflict(BackendError):
    """More than one distribution provides a backend of this name."""


class BackendAlreadySelected(BackendError):
    """Another backend is in use already."""


class BackendChoiceConflict(BackendError):
    """The environment and the configuration name different backends."""


class UnsupportedBackendError(BackendError):
    """The selected backend lacks a capability that the call needs."""


class RunnerError(PeriodicError):
    """A PeriodicRunner is used wrongly, or has failed."""


class ProcessError(PeriodicError):
    """Base of the errors of process pools."""


class NotPicklableError(ProcessError):
    """A value that a worker process needs cannot be pickled."""


class WorkerStartError(ProcessError):
    """No worker process could be started, or it could not load its task."""


class WorkerDied(ProcessError):
    """The worker process of a task died while the task ran."""

    def __init__(self, task: str, seconds: float, reason: str) -> None:
        super().__init__(task, seconds, reason)
        self.task = task
        self.seconds = seconds
        #: Which signal killed it, or its exit code, as a text.
        self.reason = reason

    def __str__(self) -> str:
        return (
            f'the worker process of {self.task} {self.reason} '
            f'{self.seconds:.3f} seconds after the task began'
        )


class TaskTimeout(ProcessError):
    """A task was ended, because it exceeded its timeout or by request."""

    def __init__(self, task: str, seconds: float, stack: str) -> None:
        super().__init__(task, seconds, stack)
        self.task = task
        self.seconds = seconds
        #: Its stack when it was ended, as faulthandler writes it, or empty.
        self.stack = stack

    def __str__(self) -> str:
        where = f', at:\n{self.stack}' if self.stack else ''
        return f'{self.task} was ended after {self.seconds:.3f} seconds{where}'


class RemoteError(ProcessError):
    """Stands for an exception of a task that cannot be pickled."""


class RemoteTraceback(ProcessError):
    """The traceback of a task's exception, as text from its worker."""
