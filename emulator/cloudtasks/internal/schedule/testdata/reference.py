"""Answers questions with the reference parser that the Google Cloud CLI carries.

Arguments: the root of the CLI. A line of input is a question, {"schedule",
"zone", "after"}, the last in seconds since the epoch; a line of output is its
answer, {"next": [seconds, ...]} with three times, or {"error": text}.
"""
import datetime
import json
import os
import sys

root = sys.argv[1]
sys.path[:0] = [os.path.join(root, 'lib'), os.path.join(root, 'lib', 'third_party')]

import pytz
from googlecloudsdk.appengine.googlecron import groctimespecification as groc

# The module leaves these to its users.
groc.pytz = pytz
groc.AmbiguousTimeError = pytz.AmbiguousTimeError
groc.NonExistentTimeError = pytz.NonExistentTimeError

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=pytz.utc)


def answer(question):
  try:
    spec = groc.GrocTimeSpecification(question['schedule'], question['zone'])
  except Exception as e:  # it raises whatever it meets
    return {'error': '%s: %s' % (type(e).__name__, e)}
  at = EPOCH + datetime.timedelta(seconds=question['after'])
  times = []
  for _ in range(3):
    at = spec.GetMatch(at)
    times.append(int((at - EPOCH).total_seconds()))
  return {'next': times}


for line in sys.stdin:
  print(json.dumps(answer(json.loads(line))))
