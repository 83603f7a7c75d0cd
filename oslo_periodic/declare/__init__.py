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

Nothing here uses an instance, a clock or a configuration. Modules:

- `_task`: the frozen description of a task, and the checks of its arguments;
- `_attributes`: the attributes that the decorator writes on a function;
- `_policy`: how a task is run;
- `_deferred`: values that are looked up when an instance is made;
- `_collection`: the tasks of a class, its own and inherited ones;
- `_names`: the known name that a mistyped one resembles most.
"""
