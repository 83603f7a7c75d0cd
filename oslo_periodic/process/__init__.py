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

"""The spawn pool: a tick's tasks in processes of their own.

A worker is a fresh interpreter (spawn, never fork: a fork would inherit the
locks that other threads hold). It has three channels, and the parent waits on
the last two together with everybody else's, so that nothing is polled::

    parent                                                     worker
      |  socket   ---- command, and the memory file of a tick -->  |
      |  pipe     <--- began, log, ended, load failed -----------  |
      |  pidfd    <--- its exit, whatever the reason ------------  |

    and one pipe for all workers that nothing is ever written to: the kernel
    kills whoever holds its read end when the parent is gone.

A tick pickles the instance and the context once, into a memory file. Then,
for each worker and one task at a time::

    tick(number, file) --> maps the file
    run(task)          --> unpickles a fresh copy
                       <-- began            here the last run moves
                       ... the task ...
                       <-- log(record) ...  handled by a thread of the parent
                       <-- ended(outcome)
    ... the next task ...
    forget             --> drops the file; the worker stays warm

What can go wrong, and what follows:

- a worker dies before ``began``: the task goes to another worker; five such
  deaths in a row end the tick (`WorkerStartError`);
- it dies after that: this task, and no other, has failed (`WorkerDied`);
- a task is over its time: SIGTERM, on which the worker writes down where it
  stands, and a second later SIGKILL (`TaskTimeout`);
- the instance cannot be loaded: the tick raises (`WorkerStartError`), and
  what did not begin is as due as it was.

Modules: `_worker` is the parent's side of one worker, `_workers` keeps those
of a process, `_pool` runs a tick on them (`_events` is what it is told and
tells), `_child` is what a worker runs, `_wire` is what crosses between the
two, `_conf` is how a ConfigOpts crosses, `_logs` how log records do, and
`_main` how the program's main module is found.
"""
