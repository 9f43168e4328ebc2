"""The program of the catalogue on hosts, in Python with ctypes. Arguments: library, callee, target, bytes.

It knows nothing of Turnkey. It prints a line of JSON after the bad callout, and one after it has worked on.
"""
import ctypes
import gc
import json
import sys
import time

library, callee, target, size = sys.argv[1:5]
size = int(size)
VICTIM_BYTES = 64
FILL = b'B' * VICTIM_BYTES


class Row:
    def __init__(self, key, before):
        self.key, self.before, self.text = key, before, f'row {key} of the table'


def never_called_before(value):
    return value * 3 + 1


rows = []
for key in range(2000):
    rows.append(Row(key, rows[key // 2] if rows else None))
victims = [bytes([65 + i % 26]).lower() * VICTIM_BYTES for i in range(100)]
victim = victims[50]
by_text = {row.text: row for row in rows}
gc.collect()


def answer():
    total = 17
    for row in rows:
        total += len(row.text) * row.key + (row.before.key if row.before else 0)
        total += by_text[f'row {row.key} of the table'].key
    for each in victims:
        total = total * 31 % 1000003 + sum(each)
    return total


def work_on():
    made = [Row(i, None) for i in range(20000)]
    gc.collect()
    text = json.dumps([row.text for row in made[:500]])
    return len(json.loads(text)) + never_called_before(7) + len({row.key for row in made})


def memory(address, count):
    with open('/proc/self/mem', 'rb', 0) as file:
        file.seek(address)
        return file.read(count)


foreign = ctypes.CDLL(library)
shape = ctypes.CFUNCTYPE(None)
seen = []
back = shape(lambda: seen.append(1))


def function(name):
    made = getattr(foreign, 'for_hosts_' + name)
    made.argtypes, made.restype = [ctypes.c_void_p, ctypes.c_int64, shape], ctypes.c_int64
    return made


lent = [ctypes.create_string_buffer(VICTIM_BYTES) for _ in range(3)]
code = never_called_before.__code__
places = {
    'payload': lambda: id(victim) + bytes.__basicsize__ - 1,
    'header': lambda: id(victim) + 8,  # the type's address
    'code': lambda: id(code) + memory(id(code), 600).index(code.co_code[:10]),
    'lent': lambda: ctypes.addressof(lent[1]),
    'number': lambda: 5,
}
at = places[target]()
watched = at if target != 'number' else places['payload']()
kept = [bytes(buffer) for buffer in lent]
expected, before = answer(), memory(watched, 16)
functions = [function(name) for name in callee.split(',')]
error, returned = None, None
try:
    for each in functions:
        returned = each(lent[1] if target == 'lent' else at, size, back)
except OSError as e:
    error = {'name': e.errorName, 'signal': e.errorCode, 'code': e.code, 'address': e.address, 'pkey': e.pkey,
             'module': e.module}


def intact():
    if target == 'lent':
        neighbours = [bytes(lent[0]), bytes(lent[2])] == [kept[0], kept[2]]
        return neighbours and bytes(lent[1]) == (kept[1] if callee != 'fill' or error else FILL)
    return memory(watched, 16) == before


print(json.dumps({'stage': 'called', 'at': at, 'error': error, 'returned': returned, 'intact': intact()}), flush=True)
time.sleep(0.4)  # for a thread that the callee left
right = work_on() == 500 + 22 + 20000 and answer() == expected and function('sum')(lent[2], VICTIM_BYTES, back) == 0
print(json.dumps({'stage': 'done', 'right': right, 'intact': intact()}), flush=True)
