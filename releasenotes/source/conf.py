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

# -- General configuration ----------------------------------------------------

extensions = [
    'openstackdocstheme',
    'reno.sphinxext',
]

project = 'oslo.periodic Release Notes'
copyright = 'OpenStack Foundation'

# Release notes are version independent.
release = ''
version = ''

# -- Options for HTML output --------------------------------------------------

html_theme = 'openstackdocs'
html_static_path = ['_static']
pygments_style = 'native'

# -- Options for openstackdocstheme -------------------------------------------

# No openstackdocs_repo_name and openstackdocs_bug_project: the links that they
# add to each page would lead nowhere, as nothing is hosted on OpenDev or
# Launchpad.
openstackdocs_auto_name = False
