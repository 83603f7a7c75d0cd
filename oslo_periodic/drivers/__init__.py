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

"""Run the tasks that are due: the serial tick, the parallel tick, the runner.

Each driver takes a ready task, begins its run, calls the function and
finishes the run, through the methods of the task set. A PeriodicRunner works
like this::

    the timer, one call of a pool                     the workers, a pool

    cycle: line up due tasks, by due time
      |    while a worker is free, take the first  --- submit --->  execute
      |    end runs over their timeouts                                |
      |    wait for the next due time, or for the wake event           v
      +--> next cycle                                                ended
             ^                                                         |
             |    a run is due before the next cycle                   |
             +--- wake event <-----------------------------------------+
                                               take the next task <----+

Modules:

- `_serial`: the serial tick;
- `_parallel`: the parallel tick;
- `_processes`: how the parallel tick and the runner run tasks in processes;
- `_engine`: what exists from the start of a runner to its stop;
- `_dispatch`: the cycle of its timer, and the hand-out to workers;
- `_execution`: one run, and how it is ended from outside; `_in_thread` and
  `_in_process` are its two kinds;
- `_timeouts`: the deadlines of runs;
- `_stopping`: the wait for runs at a stop, and the end of those that remain.
"""
