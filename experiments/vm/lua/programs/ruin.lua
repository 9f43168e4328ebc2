-- A Lua program that a foreign function tries to ruin. It sums what lies in a live object, calls a function of the library of strangers that writes over that very object, catches
-- what is raised, and goes on to its answer. The argument names the object. It tells of itself as every trial does (src/experiment/protocol.ts).
local part = ...
io.stdout:setvbuf('line')

local null = {}
local function json(value)
  if value == null or value == nil then return 'null' end
  if type(value) == 'string' then return '"' .. value:gsub('[%c"\\\128-\255]', function(c) return ('\\u%04x'):format(c:byte()) end) .. '"' end
  if type(value) ~= 'table' then return tostring(value) end
  local out = {}
  if value[1] ~= nil or next(value) == nil then
    for i, item in ipairs(value) do out[i] = json(item) end
    return '[' .. table.concat(out, ',') .. ']'
  end
  for key, item in pairs(value) do out[#out + 1] = json(key) .. ':' .. json(item) end
  return '{' .. table.concat(out, ',') .. '}'
end
local function say(message) print('@trial ' .. json(message)) end
local function hex(number) return ('0x%x'):format(number) end

local foreign = ffi.load('build/Release/libturnkey_foreign.so')
local write = foreign:func('void foreign_write_rep(uint64_t, uint8_t, uint64_t)')
local add = foreign:func('int foreign_add(int, int)')

-- ---- the program's own objects, and its answer: 5050 from each ----
local numbers, text = {}, {}
for i = 1, 100 do numbers[i] = i end
for i = 1, 100 do text[i] = string.char(i) end
text = table.concat(text)
local function counter()
  local sum = 0
  return function(n) sum = sum + n return sum end
end
local count = counter()
for i = 1, 50 do count(i) end
local function answer()
  local of_numbers, of_text = 0, 0
  for i = 1, 100 do of_numbers = of_numbers + numbers[i] end
  for i = 1, 100 do of_text = of_text + text:byte(i) end
  for i = 51, 99 do count(i) end
  return of_numbers, of_text, count(100)
end

-- Where each lies: lobject.h of Lua 5.4. A closed upvalue holds its value 24 bytes in, a closure's prototype follows its header.
local targets = {
  string = function() return turnkey.address(text, 'bytes') + 20, 16 end,
  table = function() return turnkey.address(numbers, 'array') + 16 * 20, 8 end,
  upvalue = function() return turnkey.address(count, 'upvalue') + 24, 4 end,
  prototype = function() return turnkey.address(count, 'object') + 24, 8 end,
  state = function() return turnkey.address(count, 'state') + 16, 64 end,
}
local at, bytes = targets[part]()

local spaces = {}
for i, space in ipairs(turnkey.spaces()) do spaces[i] = {name = space.name, address = hex(space.address), bytes = space.bytes, key = space.key} end
collectgarbage()
collectgarbage('stop')
say {stage = 'set up', spaces = spaces, vmModules = {'build/Release/turnkey-lua', 'liblua5.4.so.0', 'libffi.so.8'}}
turnkey.tell(('began %d'):format(math.floor(turnkey.clock() * 1e9)))

local ok, raised = pcall(turnkey.examined, write, at, 0x41, bytes)
collectgarbage('restart')
if not ok and type(raised) ~= 'table' then error(raised) end
local fault = null
if not ok then
  fault = {
    signal = raised.signal, siCode = raised.siCode, siCodeName = raised.siCodeName, address = hex(raised.address), access = raised.access, pkey = raised.pkey or null,
    space = raised.space or null, spaceKey = raised.spaceKey or null, pc = hex(raised.pc), pcModule = raised.module or null, symbol = raised.symbol or null, phase = raised.phase,
    image = raised.image,
  }
end
local difference = turnkey.difference()
say {stage = 'called', inapplicable = null, fault = fault, answer = null, errno = null, disclosed = false, notes = {('%d bytes at %s, in the %s'):format(bytes, hex(at), part)}}

local steps = {}
local function step(name, body)
  local fine, detail = pcall(body)
  steps[#steps + 1] = {step = name, ok = fine, detail = tostring(detail)}
end
step('the program goes on to its answer', function()
  local a, b, c = answer()
  if a ~= 5050 or b ~= 5050 or c ~= 5050 then error(('wrong answer: %s, %s, %s'):format(a, b, c), 0) end
  return 'right answer: 5050, three times'
end)
step('a full collection', function() collectgarbage() collectgarbage() return 'done' end)
step('the allocator\'s own walk', function() assert(turnkey.check()) return 'sound' end)
step('a walk over every object', function() return turnkey.walk().string .. ' strings' end)
step('allocations of many sizes', function()
  local kept = {}
  for i = 1, 5000 do kept[i] = ('x'):rep(i % 3000) end
  return #kept .. ' strings'
end)
step('an honest callout', function() assert(add(2, 3) == 5) return '5' end)
local ranges = {}
for i, range in ipairs(difference.ranges) do ranges[i] = {space = 'heap', offset = range.offset, bytes = range.bytes} end
say {stage = 'finished', aftermath = steps, canaries = {}, diff = {changedBytes = difference.changedBytes, ranges = ranges, heap = null}}
turnkey.tell('done')
