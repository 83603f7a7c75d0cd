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

"""What the configuration sets, read and applied to a task set.

Modules:

- `_options`: reads the group of oslo.periodic;
- `_settings`: reads deferred values and the groups of tasks;
- `_apply`: fills a task set with the tasks of a class;
- `_reload`: applies a change to a task set in use;
- `_groups`: follows changes of files, and warns of typos;
- `_files`: reads what files set, registered as an option or not;
- `_sample`: lists the options of a class for oslo-config-generator.
"""
