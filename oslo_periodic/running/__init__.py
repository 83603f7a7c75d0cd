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


"""The parts of :class:`oslo_periodic.runner.PeriodicRunner`.

How they work together::

    the timer, one call of a pool                      the workers, a pool
      turn ------------------------------------------------------------+
      |  schedules: what has become due  -> waiting, by due time       |
      |  while a worker is free: start the first  --- submit --->   execute
      |  what is over its timeout: log the stack, end it               |
      |  sleep until something is due, or the wake event               |
      +<----- wake, if its next run is sooner than planned --------- ended
                                                         |
    the monitor, every 5 s                               +-> the next that
      is the timer turning, is a task too late?              waits starts
      WATCHDOG=1

    the control socket: a line of JSON -> what operators do -> a line

Modules: `_dispatch` is the timer's turn and the hand-out, `_execution` one
run and how it is ended, `_health` says what is wrong and why, `_operate` is
what operators and a stop do, `_control` the socket, and `_notify` tells the
service manager.
"""
