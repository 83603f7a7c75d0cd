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

"""Run tests in this process and write each one's outcome as JSON.

``run.py`` runs it in a service's environment: OUTPUT NAME...
"""

import json
import pathlib
import sys
from typing import Any
import unittest


class _Outcomes(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def _note(self, test: Any, outcome: str, reason: str = '') -> None:
        # A test can report more than once; a failure is not forgotten.
        if self.outcomes.get(test.id()) != 'failed':
            self.outcomes[test.id()] = outcome
        if reason:
            self.reasons[test.id()] = reason[-4000:]

    def addSuccess(self, test: Any) -> None:
        self._note(test, 'passed')

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note(test, 'failed', self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, 'failed', self.failures[-1][1])

    def addSkip(self, test: Any, reason: str) -> None:
        self._note(test, 'skipped', reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._note(test, 'passed')

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._note(test, 'failed', 'unexpected success')

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, 'failed', f'{subtest.id()}: {err[1]!r}')


def main() -> None:
    output, *names = sys.argv[1:]
    # The services read the command line, too.
    del sys.argv[1:]
    result = _Outcomes()
    unittest.TestLoader().loadTestsFromNames(names).run(result)
    answer = sys.modules.get('oslo_service.periodic_task')
    pathlib.Path(output).write_text(
        json.dumps(
            {
                'answered_by': answer and answer.__name__,
                'outcomes': result.outcomes,
                'reasons': result.reasons,
            }
        )
    )


if __name__ == '__main__':
    main()
