# A program that knows nothing of Turnkey: its callee writes into a Python string, through a wrong pointer.
import ctypes

motto = 'Keep the key'
wrong = id(motto) + 48  # where CPython keeps the characters
try:
    ctypes.memset(wrong, ord('!'), 8)
except OSError as error:
    print(error)
print('The motto is:', motto)
