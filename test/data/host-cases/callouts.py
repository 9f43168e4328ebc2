# One bad callout of a Python program that knows nothing of Turnkey; scripts/host-cases.mjs says what each case is.
# Argument: the case. Prints one line of JSON: the program's answer, and what it saw.
import ctypes
import gc
import json
import os
import sys
import zlib

SIZE = 8192
STEP = 800  # where in the object a stray store lands
libc = ctypes.CDLL(None)
libz = ctypes.CDLL('libz.so.1')
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

victim = bytes(i * 7 % 251 for i in range(SIZE))
body = id(victim) + bytes.__basicsize__ - 1
lent = ctypes.create_string_buffer(128)
far = ctypes.c_void_p
compare = ctypes.CFUNCTYPE(ctypes.c_int, far, far)(lambda a, b: 1)


def memory():
    """The object as it lies there, from its type word on, read without a callout."""
    with open('/proc/self/mem', 'rb', buffering=0) as file:
        return os.pread(file.fileno(), body + SIZE - id(victim) - 8, id(victim) + 8)


def code():
    with open('/proc/self/maps') as lines:
        return next(int(line.split('-')[0], 16) for line in lines if 'r-xp' in line and '/libc.so' in line)


def from_pipe():
    reader, writer = os.pipe()
    os.write(writer, b'!' * 8)
    return libc.read(reader, far(body + STEP), 8)


def free_twice():
    chunk = libc.malloc(1000)
    libc.free(chunk)
    libc.free(chunk)


def unpack():
    packed = zlib.compress(b'!' * 64)
    return libz.uncompress(far(body), ctypes.byref(ctypes.c_ulong(64)), packed, len(packed))


CASES = {
    'control': lambda: libc.memset(lent, 1, 64),
    'object-store': lambda: libc.memset(far(body + STEP), 0x21, 8),
    'object-header': lambda: libc.memset(far(id(victim) + 8), 0x21, 8),
    'string-copy': lambda: libc.strcpy(far(body), b'a wrong pointer'),
    'out-parameter': lambda: libc.strtol(b'7x', far(body), 10),
    'uncompress': unpack,
    'qsort-callback': lambda: libc.qsort(far(body + STEP), 4, 8, compare),
    'kernel-read': from_pipe,
    'kernel-getrandom': lambda: libc.getrandom(far(body + STEP), 16, 0),
    'neighbour': lambda: libc.memset(lent, 0x21, 72),
    'stray-read': lambda: libc.memcpy(lent, far(body), 8),
    'null-pointer': lambda: libc.memset(far(0), 0, 8),
    'code-store': lambda: libc.memset(far(code()), 0, 8),
    'abort': lambda: libc.abort(),
    'double-free': free_twice,
}

before = memory()
error, result = None, None
try:
    result = CASES[sys.argv[1]]()
except OSError as caught:
    error = {name: getattr(caught, name, None) for name in ('errorName', 'signal', 'code', 'access', 'space', 'address')}
after = memory()
# it works on: small and large objects, a collection, and every byte of the object that the callee was near
kept = [[str(i), i] for i in range(20000)]
gc.collect()
print(json.dumps({
    'right': all(byte == i * 7 % 251 for i, byte in enumerate(victim)) and sum(i for _, i in kept) == 199990000,
    'changed': sum(a != b for a, b in zip(before, after)),
    'object': {'from': id(victim), 'to': body + SIZE},
    'neighbour': lent.raw[64:] == bytes(64),
    'read': lent.raw[:8] == bytes(i * 7 % 251 for i in range(8)),
    'result': result if isinstance(result, int) else None,
    'error': error,
}))
