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

"""When tasks are due, and what became of their runs.

Nothing here knows `PeriodicTasks`, oslo.config or a backend. Modules:
`_schedule` decides when each row is due, over the `_due_queue`; `_history`
records runs, and `_report` describes all of it; `_task_set` holds everything
kept for one instance; `_pickling` takes that to a copy or a worker process;
`_thread_ref` finds the stack of another thread.
"""
