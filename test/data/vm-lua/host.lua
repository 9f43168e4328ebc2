-- What the Lua host promises, one line per promise: `ok NAME` or `not ok NAME: why`. Arguments: the folder of the built libraries.
io.stdout:setvbuf("line")
local folder = ...
local foreign = ffi.load(folder .. '/libturnkey_foreign.so')
local libc = ffi.load('libc.so.6')
local closes = turnkey.mechanism ~= 'none' and turnkey.mechanism ~= 'flag'
local keys = turnkey.mechanism == 'pkeys'
local patience = turnkey.mechanism == 'mprotect-page' and 20 or 1 -- a call for every page, twice a callout

local function check(name, body)
  local ok, why = xpcall(body, debug.traceback)
  print(ok and 'ok ' .. name or 'not ok ' .. name .. ': ' .. tostring(why):gsub('\n', ' | '))
end
local function equal(found, wanted, what)
  if found ~= wanted then error(string.format('%s: %s, wanted %s', what or 'value', tostring(found), tostring(wanted)), 2) end
end
local function sound()
  collectgarbage()
  assert(turnkey.check())
  assert(turnkey.walk().table > 10)
end

local write = foreign:func('void foreign_write64(uint64_t, uint64_t)')
local read = foreign:func('uint64_t foreign_read64(uint64_t)')
local null_write = foreign:func('void foreign_null_write(void)')
local qsort = libc:func('void qsort(void *, size_t, size_t, int (*)(const void *, const void *))')

check('an unmodified library is called: integers, strings, doubles', function()
  local z = ffi.load('libz.so.1')
  equal(z:func('unsigned long crc32(unsigned long, const void *, unsigned int)')(0, 'hello', 5), 0x3610a686)
  assert(z:func('const char *zlibVersion(void)')():match('^%d+%.%d+'))
  equal(foreign:func('double foreign_sum_mixed(int8_t, uint16_t, int32_t, int64_t, float, double, uint64_t, int32_t, double, int64_t, float, uint8_t)')(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 78.0)
  equal(foreign:func('double foreign_sum_variadic(int, ...)')(3, 1.0, 2.0, 3.5), 6.5)
  local out = ffi.buffer(100)
  equal(libc:func('int snprintf(char *, size_t, const char *, ...)')(out, #out, '%ld %s %.3f', 42, 'text', 1.5), 13)
  equal(ffi.string(out), '42 text 1.500')
  equal(foreign:func('int foreign_set_errno(int)')(7), -7)
  equal(ffi.errno(), 7)
  equal(foreign:func('int foreign_add(int, int)')(-5, 3), -2)
  equal(foreign:func('uint64_t foreign_checksum(const uint8_t *, uint64_t)')('', 0), -3750763034362895579) -- FNV's basis, as Lua shows 64 bits
end)

check('wrong arguments are errors before anything is called', function()
  local add = foreign:func('int foreign_add(int, int)')
  local fill = foreign:func('void foreign_fill(uint8_t *, uint64_t, uint8_t)')
  for _, call in ipairs {
    function() add(1) end, function() add(1, 2, 3) end, function() add(1, 'x') end, function() add(1, 1.5) end, function() add(1, 1 << 40) end,
    function() fill('a Lua string may not be written to', 4, 0) end, function() fill({}, 4, 0) end, function() foreign:func('int no_such_function(void)') end,
    function() foreign:func('struct pair foreign_pair(int)') end, function() foreign:func('int foreign_add(int, int') end, function() ffi.load('libnosuch.so.9') end,
  } do
    local before = turnkey.statistics().faults
    local ok, why = pcall(call)
    equal(ok, false)
    equal(type(why), 'string')
    equal(turnkey.statistics().faults, before)
  end
end)

check('a fault is an error value that pcall catches', function()
  local ok, fault = pcall(null_write)
  equal(ok, false)
  equal(fault.errorName, 'exception in FFI call')
  equal(fault.errorCode, 11)
  equal(fault.signal, 'SIGSEGV')
  equal(fault.siCodeName, 'SEGV_MAPERR')
  equal(fault.address, 0)
  equal(fault.access, 'write')
  equal(fault.phase, 'call')
  equal(fault.symbol, 'foreign_null_write')
  equal(fault['function'], 'foreign_null_write')
  equal(fault.mechanism, turnkey.mechanism)
  equal(fault.image, closes and 'protected' or 'unknown')
  assert(fault.pc > 0 and fault.threadId > 0)
  assert(tostring(fault):match('^exception in FFI call: foreign_null_write: SIGSEGV %(SEGV_MAPERR%), write at 0x0, pc 0x'))
  equal(select(2, pcall(foreign:func('int foreign_divide(int, int)'), 1, 0)).signal, 'SIGFPE')
  equal(select(2, pcall(foreign:func('void foreign_illegal(void)'))).signal, 'SIGILL')
  equal(select(2, pcall(foreign:func('void foreign_abort(void)'))).aborted, true)
  equal(select(2, pcall(foreign:func('uint64_t foreign_recurse(uint64_t, uint64_t)'), 0, 256)).stackOverflow, true)
  equal(select(2, pcall(foreign:func('int foreign_divide(int, int)'), 7, 0)).arguments[1], 7)
end)

check('a live table: the store is prevented, or lands where nothing closes the image', function()
  local live = {1, 2, 3}
  local ok, fault = pcall(turnkey.examined, write, turnkey.address(live, 'array'), 42)
  equal(ok, not closes)
  equal(live[1], closes and 1 or 42)
  equal(turnkey.difference().changedBytes, closes and 0 or 1)
  if closes then
    equal(fault.space, 'heap')
    equal(fault.access, 'write')
    equal(fault.siCodeName, keys and 'SEGV_PKUERR' or 'SEGV_ACCERR')
    equal(fault.pkey, keys and fault.spaceKey or nil)
  end
end)

check('the heap may be read in a callout, unless access is denied', function()
  local text = 'read me, please, all of you who can'
  local ok, result = pcall(read, turnkey.address(text, 'bytes'))
  if closes and turnkey.deny == 'access' then
    equal(ok, false)
    equal(result.access, 'read')
    equal(result.space, 'heap')
  else
    equal(result, string.unpack('<i8', text))
  end
  equal(libc:func('size_t strlen(const char *)')(text), #text)
  equal(libc:func('size_t strlen(const char *)')(('x'):rep(3000000)), 3000000) -- more than the room for copies
end)

check('the C stack that Lua runs on lies behind the keys too', function()
  local stack
  for _, space in ipairs(turnkey.spaces()) do if space.name == 'stack' then stack = space end end
  if not keys then
    equal(stack ~= nil, turnkey.mechanism == 'flag') -- mprotect would take it away under the very code that closes the pages
    return
  end
  assert(stack.key ~= 0)
  for _, at in ipairs {stack.address + stack.bytes - 64, stack.address + stack.bytes - 2048, stack.address + 64} do
    local ok, fault = pcall(write, at, 1)
    equal(ok, false)
    equal(fault.space, 'stack')
    equal(fault.pkey, stack.key)
  end
end)

check('callbacks: a Lua comparator, and one that is kept', function()
  local numbers = ffi.buffer(string.pack('i4i4i4i4i4', 5, 3, 9, -1, 7))
  local function item(pointer) return (string.unpack('i4', ffi.string(pointer, 4))) end
  qsort(numbers, 5, 4, function(a, b) return item(a) - item(b) end)
  equal(table.concat({string.unpack('i4i4i4i4i4', numbers:string())}, ' ', 1, 5), '-1 3 5 7 9')
  local kept = ffi.callback('int (int)', function(x) return x * 3 end)
  foreign:func('void foreign_register(int (*)(int))')(kept)
  collectgarbage()
  equal(foreign:func('int foreign_fire(int)')(14), 42)
  local seen
  equal(foreign:func('double foreign_call_back_mixed(double (*)(int8_t, uint16_t, float, double, int64_t, const char *, double, uint32_t, int64_t, int64_t), int)')(function(...)
    seen = {...}
    return 2.5
  end, 2), 5.0)
  equal(#seen, 10)
  equal(seen[6], 'text')
end)

check('an error in a callback does not cross the gate: it is raised after the callout', function()
  local numbers = ffi.buffer(400)
  local calls = 0
  local thrown = {}
  local ok, why = pcall(qsort, numbers, 100, 4, function() calls = calls + 1 error(thrown) end)
  equal(ok, false)
  equal(why, thrown)
  equal(calls, 1)
  local routine = coroutine.wrap(function() return pcall(qsort, numbers, 10, 4, function() coroutine.yield() return 0 end) end)
  ok, why = routine()
  equal(ok, false)
  assert(why:match('yield across a C%-call boundary'), why)
  ok, why = pcall(qsort, numbers, 10, 4, function() return 'no number' end)
  assert(why:match('returned a string'), why)
  sound()
end)

check('nesting: callout, callback, callout; a fault fails the innermost alone', function()
  local call_back = foreign:func('int foreign_call_back(int (*)(int), int)')
  local inner
  equal(call_back(function(x)
    local ok, fault = pcall(null_write)
    inner = fault
    assert(not ok and turnkey.check())
    return call_back(function(y) collectgarbage() return y + x end, 30)
  end, 10), 42)
  equal(inner.depth, 2)
  local ok, fault = pcall(call_back, function() null_write() end, 1)
  equal(ok, false)
  equal(fault.signal, 'SIGSEGV')
  ok, fault = pcall(foreign:func('int foreign_call_back_then_fault(int (*)(int), int)'), function() return 1 end, 1)
  equal(ok, false)
  equal(fault.depth, 1)
  ok, fault = pcall(foreign:func('int foreign_call_back_then_fault(int (*)(int), int)'), function() error('first') end, 1)
  assert(fault.callbackError:match('first'))
  equal(call_back(function(x) return x end, 1), 2)
end)

check('callouts and callbacks in coroutines', function()
  local call_back = foreign:func('int foreign_call_back(int (*)(int), int)')
  local sum = 0
  local workers = {}
  for i = 1, 10 do
    workers[i] = coroutine.create(function()
      for round = 1, 5 do
        sum = sum + call_back(function(x) return x + round end, i)
        coroutine.yield()
      end
    end)
  end
  for _ = 1, 5 do for i = 1, 10 do assert(coroutine.resume(workers[i])) end end
  equal(sum, 475)
end)

check('a callback from a thread of the library\'s own, or after its release, is refused', function()
  local called = false
  equal(foreign:func('int foreign_call_back_on_thread(int (*)(int), int)')(function() called = true return 7 end, 1), 0)
  equal(called, false)
end)

check('wild pointers in what foreign code leaves behind are faults with phase decode', function()
  local ok, fault = pcall(foreign:func('const char *foreign_string_at(uint64_t)'), 0x1234)
  equal(ok, false)
  equal(fault.phase, 'decode')
  ok, fault = pcall(ffi.string, 0x99, 5)
  equal(fault.phase, 'decode')
  ok, fault = pcall(foreign:func('int foreign_call_back_wild_string(int (*)(const char *), uint64_t)'), function() return 0 end, 0x99)
  equal(fault.phase, 'decode')
  equal(foreign:func('const char *foreign_greeting(void)')(), 'hello from abroad')
  equal(foreign:func('const char *foreign_string_at(uint64_t)')(0), nil)
end)

check('buffers lie outside the image; a loan is open only in callouts that it is passed to', function()
  local fill = foreign:func('void foreign_fill(uint8_t *, uint64_t, uint8_t)')
  local buffer = ffi.buffer(10)
  fill(buffer, 10, 65)
  equal(buffer:string(), 'AAAAAAAAAA')
  equal(buffer:set('xyz', 2):string(1, 4), 'Axyz')
  equal(pcall(buffer.set, buffer, 'too much', 5), false)
  local loan = ffi.loan(100, 'end')
  fill(loan, 100, 66)
  equal(loan:string(98), 'BB')
  equal(pcall(fill, loan, 101, 67), false) -- the guard page
  local ok, fault = pcall(write, loan:address(), 1) -- by its number: not lent
  if closes then equal(ok, false) end
  loan:release()
  equal(pcall(fill, loan, 1, 1), false)
end)

check('a thousand faults in a row; then a full collection, and a walk over all there is', function()
  for _ = 1, 1000 // patience do equal(pcall(null_write), false) end
  local live = {'a string', {1, 2, 3}, function() return 1 end}
  for i = 1, 100 do pcall(write, 8 * i, 1) end
  sound()
  equal(live[3]() + #live[2], 4)
end)

check('another state on another thread, both with callouts', function()
  local source = [[
    local folder, rounds = ...
    rounds = math.tointeger(rounds)
    local foreign = ffi.load(folder .. '/libturnkey_foreign.so')
    local add, bad = foreign:func('int foreign_add(int, int)'), foreign:func('void foreign_null_write(void)')
    local sum = 0
    for i = 1, rounds do sum = add(sum, i) if i % 100 == 0 then assert(not pcall(bad)) end end
    local t = {}
    for i = 1, 20000 do t[i] = {i} end
    collectgarbage()
    assert(turnkey.check())
    return sum
  ]]
  local rounds = 2000 // patience
  local one, two = turnkey.spawn(source, folder, tostring(rounds)), turnkey.spawn(source, folder, tostring(rounds))
  local add = foreign:func('int foreign_add(int, int)')
  local sum = 0
  for i = 1, rounds do sum = add(sum, i) end
  equal(one:join(), tostring(rounds * (rounds + 1) // 2))
  equal(two:join(), one:join())
  equal(sum, rounds * (rounds + 1) // 2)
  local bad = turnkey.spawn('error("from there")')
  local ok, why = pcall(bad.join, bad)
  assert(not ok and why:match('from there'))
end)

check('the heap grows, and what is new is protected like the rest', function()
  local before = turnkey.statistics().heapGrows
  local many = {}
  for i = 1, 200000 do many[i] = 'item ' .. i end
  assert(turnkey.statistics().heapGrows > before)
  local ok = pcall(write, turnkey.address(many, 'array') + 16 * 150000, 0)
  equal(ok, not closes)
  equal(pcall(null_write), false)
  if closes then for i = 1, 200000 do equal(many[i], 'item ' .. i) end end
  many = nil
  sound()
end)

-- Last: the fault leaves the loader's lock held by this thread, and every other thread's dlopen would wait for ever.
check('a library whose constructor faults is an error with phase load', function()
  local ok, fault = pcall(ffi.load, folder .. '/libturnkey_foreign_ctor.so')
  equal(ok, false)
  equal(fault.phase, 'load')
end)

sound()
print('ok the end')
