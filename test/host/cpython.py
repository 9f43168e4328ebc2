# A Python program that was never ported, behind native/host: what its callouts may and may not do. Prints a line for
# each test, "ok NAME" or "not ok NAME: why"; test/host/cpython.test.ts runs it under each mechanism.
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
import traceback
import tracemalloc

import turnkey

MECHANISM = os.environ['TURNKEY_HOST_MECHANISM']
CLOSES = MECHANISM not in ('flag', 'none')
libc = ctypes.CDLL(None)
libc.memset.restype = ctypes.c_void_p
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


def failure(function, *arguments):
    """The error that a callout raises, or None."""
    try:
        function(*arguments)
    except turnkey.CalloutError as error:
        return error
    return None


def fails():
    """A callout that fails under every mechanism."""
    return failure(libc.memset, 16, 1, 8)


def closed(address, length):
    """Whether a foreign store is denied there. Nothing is changed: the bytes are those that are there."""
    byte = ctypes.string_at(address, 1)[0]
    error = failure(libc.memset, address, byte, 1)
    last = failure(libc.memset, address + length - 1, ctypes.string_at(address + length - 1, 1)[0], 1)
    assert (error is None) == (last is None)
    return error is not None


def test_error_says_what_happened():
    error = fails()
    assert isinstance(error, OSError)
    assert error.errorName == 'exception in FFI call' and error.errorCode == signal.SIGSEGV
    assert error.address == 16 and error.access == 'write' and error.space is None
    assert error.function == 'memset' and error.signal == 'SIGSEGV' and error.code == 'SEGV_MAPERR'
    assert error.module == 'libc.so.6'
    assert error.pc > 4096 and error.mechanism == MECHANISM and error.threadId == threading.get_native_id()
    assert 'memset' in str(error) and error.__context__ is None


def test_error_has_the_stack_of_the_call():
    frames = [frame.name for frame in traceback.extract_tb(fails().__traceback__)]
    assert frames == ['failure'], frames


def test_text_is_closed():
    for text in ('a' * 40, 'b' * 4000):
        start = id(text) + sys.getsizeof(text) - 1 - len(text)
        error = failure(libc.memset, start, ord('x'), 8)
        assert (error is not None) == CLOSES
        assert text[:9] == (text[-1] * 9 if CLOSES else 'x' * 8 + text[-1])
        if CLOSES:
            assert error.space == 'python heap' and error.access == 'write' and error.address == start
            assert error.code == ('SEGV_PKUERR' if MECHANISM == 'pkeys' else 'SEGV_ACCERR')


def test_objects_are_closed():
    for value in (b'x' * 30, b'y' * 3000, [1] * 20, (1, 2, 3), {1: 2}, 2**200, 1.5, fails):
        assert closed(id(value), 16) == CLOSES, value
    items = list(range(1000))
    assert closed(ctypes.cast(id(items) + 24, ctypes.POINTER(ctypes.c_void_p))[0], 8000) == CLOSES


def test_ctypes_memory_is_open():
    class Pair(ctypes.Structure):
        _fields_ = [('a', ctypes.c_int), ('b', ctypes.c_double)]

    class Large(ctypes.BigEndianStructure):
        _fields_ = [('bytes', ctypes.c_char * 900), ('number', ctypes.c_int)]

    class Later(ctypes.Structure):
        pass

    Later._fields_ = [('values', ctypes.c_long * 5)]
    resized = ctypes.c_long()
    ctypes.resize(resized, 100)
    ctypes.resize(resized, 5000)
    for instance in (ctypes.c_char(), ctypes.c_int(), ctypes.c_longdouble(), Pair(), Large(), Later(), (Pair * 3)(),
                     (ctypes.c_byte * 17)(), ctypes.create_string_buffer(3), ctypes.create_string_buffer(100000),
                     ctypes.pointer(Pair()), ctypes.c_int.__ctype_be__(), resized, ctypes.create_unicode_buffer(9)):
        assert not closed(ctypes.addressof(instance), ctypes.sizeof(instance)), instance
    number = ctypes.c_int()
    assert libc.sscanf(b'42', b'%d', ctypes.byref(number)) == 1 and number.value == 42


def test_bytearrays_are_open_once_exported():
    for length in (1, 10, 500, 5000):
        array = bytearray(b'q' * length)
        buffer = (ctypes.c_char * length).from_buffer(array)
        ctypes.memset(buffer, ord('z'), length)
        assert array == b'z' * length
        del buffer
        array.extend(b'tail' * 300)
        del array[:length]
        assert array == b'tail' * 300


def test_callbacks_make_callouts():
    errors = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    def compare(a, b):
        errors.append(fails())
        return a[0] - b[0]

    numbers = (ctypes.c_int * 7)(5, 3, 1, 7, 4, 2, 6)
    libc.qsort(numbers, 7, 4, compare)
    assert list(numbers) == [1, 2, 3, 4, 5, 6, 7] and len(errors) > 5 and None not in errors


def test_outer_callout_fails_after_a_callback():
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def compare(a, b):
        calls.append([0] * 100)
        return 0

    calls = []
    error = failure(libc.qsort, ctypes.c_void_p(16), 2, 4, compare)
    assert error is not None and error.function == 'qsort'
    before = len(calls)
    error = failure(libc.bsearch, b'x', ctypes.c_void_p(4096), 1, 1, compare)
    assert error is None and len(calls) == before + 1


def test_threads_fail_alone():
    def work():
        for i in range(300):
            rows.append([i] * 5)
            if i % 3 == 0:
                assert fails().threadId == threading.get_native_id()
            else:
                assert libc.abs(-i) == i
        done.append(1)

    rows, done = [], []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    gc.collect()
    for thread in threads:
        thread.join()
    assert len(done) == 4 and len(rows) == 1200 and sum(map(len, rows)) == 6000


def test_foreign_threads_call_back():
    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    def start(argument):
        seen.append((argument, fails().signal, [argument] * 200))
        return argument + 1

    seen, thread, result = [], ctypes.c_ulong(), ctypes.c_void_p()
    for i in range(1, 6):
        assert libc.pthread_create(ctypes.byref(thread), None, start, ctypes.c_void_p(i)) == 0
        assert libc.pthread_join(thread, ctypes.byref(result)) == 0
        assert result.value == i + 1
    assert [row[0] for row in seen] == [1, 2, 3, 4, 5]


# Broken once: without our PyObject_CallFunctionObjArgs, errcheck was called with what a failed callout had not answered.
def test_no_errcheck_without_a_result():
    seen = []
    function = ctypes.CDLL(None).memset
    function.errcheck = lambda result, *rest: seen.append(result) or result
    assert failure(function, ctypes.c_void_p(16), 1, 8) is not None and seen == []
    function.restype = ctypes.c_void_p
    memory = ctypes.create_string_buffer(8)
    assert function(memory, 65, 7) == ctypes.addressof(memory) and len(seen) == 1
    function.restype = lambda result: seen.append('restype')
    assert failure(function, ctypes.c_void_p(16), 1, 8) is not None and len(seen) == 1


def test_functions_that_keep_the_lock():
    python = ctypes.PyDLL(None)
    python.memset.argtypes = libc.memset.argtypes
    error = failure(python.memset, 16, 1, 8)
    assert error is not None and error.function == 'memset'
    text = 'g' * 40  # such a function may use Python's own interface, so the heap is open to it
    assert failure(python.memset, id(text) + 60, ord('g'), 4) is None
    ctypes.pythonapi.PyList_Append.argtypes = [ctypes.py_object, ctypes.py_object]
    items = []
    for i in range(100):
        ctypes.pythonapi.PyList_Append(items, [i])
    assert len(items) == 100


def test_structures_by_value():
    class Quotient(ctypes.Structure):
        _fields_ = [('quot', ctypes.c_int), ('rem', ctypes.c_int)]

    libc.div.restype = Quotient
    assert libc.div(17, 5).rem == 2


def test_signals_arrive():
    seen = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append([number] * 100))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    for _ in range(3):
        libc.usleep(20000)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    assert seen and seen[0] == [signal.SIGALRM] * 100


def test_faulthandler_changes_nothing():
    faulthandler.enable()
    assert fails() is not None
    faulthandler.disable()
    assert fails() is not None


def test_tracemalloc_changes_nothing():
    tracemalloc.start()
    instance, text = ctypes.c_int(), 'c' * 1000
    assert not closed(ctypes.addressof(instance), 4)
    assert closed(id(text) + 60, 8) == CLOSES
    tracemalloc.stop()
    del instance, text


def test_forked_children_are_guarded():
    child = os.fork()
    if child == 0:
        text = 'd' * 50
        os._exit(0 if fails() is not None and closed(id(text) + 60, 8) == CLOSES else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_memory_of_many_sizes_keeps_its_content():
    live = {}
    for i in range(20000):
        size = (i * 7919) % (200000 if i % 50 == 0 else 3000)
        live[i] = bytearray([i % 251]) * size
        if i % 3:
            live.pop(i * 31 % (i + 1), None)
        if i % 5 == 0 and i in live:
            live[i].extend(b'e' * (i % 1000))
    for i, value in live.items():
        size = (i * 7919) % (200000 if i % 50 == 0 else 3000)
        assert value[:size] == bytes([i % 251]) * size and len(value) == size + (i % 1000 if i % 5 == 0 else 0)
    gc.collect()


def test_cffi_is_served():
    try:
        import cffi
    except ImportError:
        return
    ffi = cffi.FFI()
    ffi.cdef('void *memset(void *, int, size_t); int sscanf(const char *, const char *, ...);'
             'void qsort(void *, size_t, size_t, int (*)(const void *, const void *));')
    library = ffi.dlopen(None)
    assert failure(library.memset, ffi.cast('void *', 16), 1, 8).function == 'memset'
    number, numbers, text = ffi.new('int *'), ffi.new('int[]', [3, 1, 2]), 'f' * 40
    assert library.sscanf(b'42', b'%d', number) == 1 and number[0] == 42
    library.memset(ffi.new('char[1000]'), 1, 1000)

    @ffi.callback('int(const void *, const void *)')
    def compare(a, b):
        return ffi.cast('int *', a)[0] - ffi.cast('int *', b)[0]

    library.qsort(numbers, 3, 4, compare)
    assert list(numbers) == [1, 2, 3]
    assert (failure(library.memset, ffi.cast('void *', id(text) + 60), 0x66, 4) is not None) == CLOSES


def main():
    for name, test in list(globals().items()):
        if not name.startswith('test_') or not all(word in name for word in sys.argv[1:]):
            continue
        try:
            test()
            print('ok', name, flush=True)
        except BaseException as error:
            traceback.print_exc()
            print(f'not ok {name}: {error!r}', flush=True)
    print('sum', sum(i * 2 for i in range(1000)), flush=True)


main()
