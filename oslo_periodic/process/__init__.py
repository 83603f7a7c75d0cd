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

"""The spawn pool: runs tasks in processes of their own.

A worker is a new interpreter (spawn; a fork would inherit the locks that
other threads hold). It has three channels. The parent waits with one poll for
the last two of all workers::

    parent                                                     worker
      |  socket   ---- command, and the memory file of a tick -->  |
      |  pipe     <--- began, log, ended, load failed -----------  |
      |  pidfd    <--- the exit of the process ------------------  |

One more pipe, the lifeline, belongs to all workers; nothing is written to it.
When the parent has ended, the kernel kills the processes that hold its read
end.

A tick pickles the instance and the context once, into a memory file. Then
each worker gets one task at a time::

    tick(setup, file)  --> maps the file
    run(task)          --> unpickles a fresh copy
                       <-- began            the last run moves now
                       ... the task ...
                       <-- log(record) ...  handled by a thread of the parent
                       <-- ended(outcome)
    ... the next task ...
    forget             --> drops the file; the worker stays warm

Failures:

- A worker dies before ``began``: the task goes to another worker. Five such
  deaths in a row end the tick (`WorkerStartError`).
- A worker dies after ``began``: only its task has failed (`WorkerDied`).
- A task exceeds its timeout: the worker gets SIGTERM, on which it writes its
  stack to a file, and SIGKILL one second later (`TaskTimeout`).
- A worker cannot load the instance: the tick raises `WorkerStartError`, and
  tasks that did not begin stay due.

The protocol between the drivers and a pool is public: see
`oslo_periodic.backends.base`. Modules:

- `_pool`: the pool, as one user sees it;
- `_tick`: one run of calls on workers; `_poller` waits for their reports;
- `_workers`: the workers of this process; `_worker` is the parent's side of
  one of them, and `_child` the program that it runs;
- `_payload`: what the calls work on, for pools of any kind;
- `_wire`, `_conf`, `_logs`, `_main`: how messages, a ConfigOpts, log records
  and the main program get from one process to the other;
- `_descriptors`: descriptors other than 0 to 2.
"""
