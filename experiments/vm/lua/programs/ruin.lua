-- A Lua program that a foreign function tries to ruin. It sums what lies in a live object, calls a function of the library of strangers that writes over that very object, catches
-- what is raised, and goes on to its answer. The argument names the object. It tells of itself as every trial does (src/experiment/protocol.ts).
local part = ...
local trial = require 'trial'

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

collectgarbage()
collectgarbage('stop')
trial.set_up()

local ok, raised = pcall(turnkey.examined, write, at, 0x41, bytes)
collectgarbage('restart')
if not ok and type(raised) ~= 'table' then error(raised) end
local difference = turnkey.difference()
trial.called(not ok and raised or nil, nil, {('%d bytes at %s, in the %s'):format(bytes, trial.hex(at), part)})

trial.step('the program goes on to its answer', function()
  local a, b, c = answer()
  if a ~= 5050 or b ~= 5050 or c ~= 5050 then error(('wrong answer: %s, %s, %s'):format(a, b, c), 0) end
  return 'right answer: 5050, three times'
end)
trial.aftermath(add)
trial.finished(difference)
