"""A client that stays: reads code, a JSON string on each line, runs it and prints what it leaves in `out`.

Importing Celery takes longer than most of what the tests do with it.
"""
import json
import sys
import traceback

import app

for line in sys.stdin:
    scope = dict(vars(app))
    try:
        exec(json.loads(line), scope)
        answer = {'out': scope['out']}
    except Exception:
        answer = {'error': traceback.format_exc()}
    print(json.dumps(answer, default=str), flush=True)
