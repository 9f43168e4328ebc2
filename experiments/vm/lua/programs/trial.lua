-- What a Lua program tells when it is a trial of an experiment: the lines of src/experiment/protocol.ts, and the steps of an aftermath that every one of them takes.
io.stdout:setvbuf('line')
local trial = {}
local null, steps = {}, {}

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
trial.hex = hex

function trial.set_up()
  local spaces = {}
  for i, space in ipairs(turnkey.spaces()) do spaces[i] = {name = space.name, address = hex(space.address), bytes = space.bytes, key = space.key} end
  say {stage = 'set up', spaces = spaces, vmModules = {'build/Release/turnkey-lua', 'liblua5.4.so.0', 'libffi.so.8'}}
  turnkey.tell(('began %d'):format(math.floor(turnkey.clock() * 1e9)))
end

-- `raised`: the error value of a callout that faulted, or nil.
function trial.called(raised, answer, notes)
  local fault = raised and {
    signal = raised.signal, siCode = raised.siCode, siCodeName = raised.siCodeName, address = hex(raised.address), access = raised.access, pkey = raised.pkey or null,
    space = raised.space or null, spaceKey = raised.spaceKey or null, pc = hex(raised.pc), pcModule = raised.module or null, symbol = raised.symbol or null, phase = raised.phase,
    image = raised.image,
  }
  say {stage = 'called', inapplicable = null, fault = fault or null, answer = answer or null, errno = null, disclosed = false, notes = notes}
end

function trial.step(name, body)
  local fine, detail = pcall(body)
  steps[#steps + 1] = {step = name, ok = fine, detail = tostring(detail)}
end

-- `add`: foreign_add, for an honest callout.
function trial.aftermath(add)
  trial.step('a full collection', function() collectgarbage() collectgarbage() return 'done' end)
  trial.step('the allocator\'s own walk', function() assert(turnkey.check()) return 'sound' end)
  trial.step('a walk over every object', function() return turnkey.walk().string .. ' strings' end)
  trial.step('allocations of many sizes', function()
    local kept = {}
    for i = 1, 5000 do kept[i] = ('x'):rep(i % 3000) end
    return #kept .. ' strings'
  end)
  trial.step('an honest callout', function() assert(add(2, 3) == 5) return '5' end)
end

-- `difference`: of the heap, as turnkey.difference() has it; nil where it was not compared.
function trial.finished(difference)
  local diff = null
  if difference then
    local ranges = {}
    for i, range in ipairs(difference.ranges) do ranges[i] = {space = 'heap', offset = range.offset, bytes = range.bytes} end
    diff = {changedBytes = difference.changedBytes, ranges = ranges, heap = null}
  end
  say {stage = 'finished', aftermath = steps, canaries = {}, diff = diff}
  turnkey.tell('done')
end

return trial
