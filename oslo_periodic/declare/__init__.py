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

"""What a class declares: tasks, policies, deferred values, and inheritance.

Nothing here knows an instance, a clock or a configuration. Modules: `_task` is
the frozen description of a task, `_policy` how a task is run, `_deferred` the
values that are looked up when an instance is made, and `_collection` the tasks
of a class with what it inherits.
"""
