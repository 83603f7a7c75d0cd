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

"""The spawn pool: runs the tasks of a tick in processes of their own.

A worker is a fresh interpreter (spawn, never fork: a fork would inherit the
locks that other threads hold). It has three channels; the parent waits for
the last two of all workers with one poll::

    parent                                                     worker
      |  socket   ---- command, and the memory file of a tick -->  |
      |  pipe     <--- began, log, ended, load failed -----------  |
      |  pidfd    <--- its exit, whatever the reason ------------  |

    and one pipe for all workers, to which nothing is ever written: when the
    parent has ended, the kernel kills the processes that hold its read end.

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

What can go wrong, and what follows:

- a worker dies before ``began``: the task goes to another worker; five such
  deaths in a row end the tick (`WorkerStartError`);
- a worker dies after that: its task alone has failed (`WorkerDied`);
- a task exceeds its timeout: the worker gets SIGTSTP, on which it writes down
  its stack and stops; then, or a second later, it is killed with the programs
  that the task has started (`TaskTimeout`; `_tree` says what is reached);
- a worker cannot load the instance: it ends; the tick raises
  `WorkerStartError`, unless earlier tasks may have changed the worker, and
  tasks that did not begin stay due;
- a signal for the service reaches its workers, too: they lead process groups
  of their own and ignore it (`_signals`).

The protocol between the drivers and a pool is public: see
`oslo_periodic.backends.base`. `_payload` implements its payload, for pools of
any kind. The spawn pool is `_pool`, which runs a tick (`_tick`, `_poller`) on
the workers of this process (`_workers`, `_worker`, `_tree`). `_child` is the
worker process, with `_adopt` and `_libc`. Both sides share `_wire` (messages
and pickles), `_conf` (how a ConfigOpts travels), `_logs` (how log records do),
`_signals` and `_main` (where the main program is).
"""
