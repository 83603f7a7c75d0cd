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

Nothing here imports `PeriodicTasks`, oslo.config or a backend. Modules:

- `_task_set`: everything kept for one instance, and the life cycle of a run;
  its base class in `_registry` has the tasks, their settings and pickling;
- `_schedule`: when each row is due, over the `_due_queue`;
- `_settings`: the settings of one task, resolved from all sources;
- `_history`: what became of the runs of each task;
- `_report`: the states of tasks, made from all of the above;
- `_clock`: the time, and how to wait;
- `_thread_ref`: the stack of another thread;
- `_pickling`: a schedule in a copy or a worker process.
"""
