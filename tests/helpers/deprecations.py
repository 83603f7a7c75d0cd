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

"""Make deprecation warnings of oslo_periodic errors.

A warning belongs to the module whose line caused it, so what other libraries
do stays a warning.
"""

from collections.abc import Iterator
import os
import warnings

import oslo_periodic

_CATEGORIES = (DeprecationWarning, PendingDeprecationWarning)


def refuse() -> None:
    """Install the filters, here and in the processes that tests start."""
    for category in _CATEGORIES:
        warnings.filterwarnings(
            'error', category=category, module=r'oslo_periodic(\.|$)'
        )
    os.environ['PYTHONWARNINGS'] = ','.join(['ignore', *_options()])


def _options() -> Iterator[str]:
    """Yield an option for each module.

    The environment knows no regular expressions: it names whole modules.
    """
    for module in _modules():
        for category in _CATEGORIES:
            yield f'error::{category.__name__}:{module}'


def _modules() -> Iterator[str]:
    """Yield the names of our modules, and import none."""
    (root,) = oslo_periodic.__path__
    for folder, _folders, files in os.walk(root):
        relative = os.path.relpath(folder, os.path.dirname(root))
        package = relative.replace(os.sep, '.')
        for file in sorted(files):
            name, extension = os.path.splitext(file)
            if extension == '.py':
                yield package if name == '__init__' else f'{package}.{name}'
