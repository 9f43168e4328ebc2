# What a ctypes callout costs: SAMPLES times CALLOUTS calls of labs. Prints one line of JSON.
import ctypes
import json
import sys
from itertools import repeat
from time import perf_counter_ns

samples, callouts = int(sys.argv[1]), int(sys.argv[2])
labs = ctypes.CDLL(None).labs
labs.argtypes = [ctypes.c_long]
labs.restype = ctypes.c_long


def sample():
    start = perf_counter_ns()
    for _ in repeat(None, callouts):
        labs(-5)
    return perf_counter_ns() - start


sample()
print(json.dumps([sample() / callouts for _ in range(samples)]))
