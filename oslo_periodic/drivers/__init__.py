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

"""Who runs what is due: the parallel tick and the runner.

A PeriodicRunner works like this::

    the timer, one call of a pool                      the workers, a pool
      cycle -----------------------------------------------------------+
      |  schedules: what has become due  -> waiting, by due time       |
      |  while a worker is free: start the first  --- submit --->   execute
      |  runs over their timeout: log the stack, end them              |
      |  sleep until something is due, or the wake event               |
      +<----- wake, if its next run is sooner than planned --------- ended
                                                         |
                                                         +-> the next that
                                                             waits starts

Modules: `_parallel` is the parallel tick, `_dispatch` the cycle of a runner's
timer and the hand-out, `_execution` one run and how it is ended, and `_engine`
everything that exists from a runner's start to its stop.
"""
