# CPython's own tests of ctypes, run as they are; the last line that is printed has each test's result as JSON.
# scripts/host-tests.mjs runs it unguarded and guarded.
import ctypes.test
import json
import os
import platform
import sys
import unittest


class Results(unittest.TextTestResult):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.results = {}

    def addSuccess(self, test):
        super().addSuccess(test)
        self.results[test.id()] = 'ok'

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.results[test.id()] = 'skipped'

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.results[test.id()] = f'failed: {error[1]}'

    def addError(self, test, error):
        super().addError(test, error)
        self.results[test.id()] = f'error: {error[0].__name__}: {error[1]}'

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.results[test.id()] = 'expected failure'


folder = os.path.dirname(ctypes.test.__file__)
suite = unittest.defaultTestLoader.discover(folder, top_level_dir=os.path.dirname(os.path.dirname(folder)))
runner = unittest.TextTestRunner(stream=sys.stderr, resultclass=Results, verbosity=0)
results = runner.run(suite).results
print()
print('RESULTS ' + json.dumps({'version': platform.python_version(), 'kernel': platform.release(), 'results': results}))
