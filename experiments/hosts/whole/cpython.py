# A whole program with a real library: zlib's checksums of a log's lines, or rows of an SQLite table in memory.
# Arguments: program, callouts, units of own work between two of them. Prints its CPU time and its answer as JSON.
import ctypes
import json
import sys
import time

program, callouts, units = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ROWS, WARM = 100, 400  # the first callouts are not timed, and have less work between them
words = {}


def work(start):
    for i in range(start, start + units):
        key = f'word {i * 7919 % 997}'
        words[key] = words.get(key, 0) + len(key)


def zlib():
    """Prepares everything; what it returns makes callouts and is timed."""
    crc32 = ctypes.CDLL('libz.so.1').crc32
    crc32.argtypes, crc32.restype = [ctypes.c_ulong, ctypes.c_char_p, ctypes.c_uint], ctypes.c_ulong

    def run(callouts):
        total = 0
        for i in range(callouts):
            line = b'%08d a line of the log' % i
            total = (total * 31 + crc32(0, line, len(line))) % 1000003
            work(i)
        return total
    return run


def sqlite():
    """As zlib."""
    lib = ctypes.CDLL('libsqlite3.so.0')
    pointer, number = ctypes.c_void_p, ctypes.c_int
    lib.sqlite3_exec.argtypes = [pointer, ctypes.c_char_p, pointer, pointer, pointer]
    lib.sqlite3_prepare_v2.argtypes = [pointer, ctypes.c_char_p, number, pointer, pointer]
    lib.sqlite3_bind_int.argtypes = [pointer, number, number]
    lib.sqlite3_step.argtypes = lib.sqlite3_reset.argtypes = [pointer]
    lib.sqlite3_column_int.argtypes = [pointer, number]
    base, query = pointer(), pointer()
    assert lib.sqlite3_open(b':memory:', ctypes.byref(base)) == 0
    fill = 'CREATE TABLE t (a INTEGER PRIMARY KEY, b INT);' + ''.join(
        f'INSERT INTO t VALUES ({i}, {i * i});' for i in range(ROWS))
    assert lib.sqlite3_exec(base, fill.encode(), None, None, None) == 0
    assert lib.sqlite3_prepare_v2(base, b'SELECT b FROM t WHERE a = ?', -1, ctypes.byref(query), None) == 0

    def run(callouts):
        total = 0
        for i in range(callouts // 4):
            lib.sqlite3_bind_int(query, 1, i % ROWS)
            lib.sqlite3_step(query)
            total += lib.sqlite3_column_int(query, 0)
            lib.sqlite3_reset(query)
            for part in range(4):
                work(4 * i + part)
        return total
    return run


run = {'zlib': zlib, 'sqlite': sqlite}[program]()
units, wanted = min(units, 500), units
run(WARM)
units = wanted
start = time.process_time_ns()
answer = run(callouts)
print(json.dumps({'cpuNs': time.process_time_ns() - start, 'answer': [answer, sum(words.values())]}))
