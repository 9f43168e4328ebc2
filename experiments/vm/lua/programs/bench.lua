-- Ordinary Lua programs, measured as a whole: what a ProgramExperiment runs (src/experiment/case.ts). Arguments: the program's name; how often it is measured; its size as a share of the full one, which
-- makes fewer callouts and leaves the work between two of them as it is; how many runs come before the first sample. Last line: samples by CLOCK_MONOTONIC (in a guest whose clock counts: instructions),
-- callouts in one run, what the program answered.
local name, runs, share, before = ...
runs, share, before = math.tointeger(runs) or 3, tonumber(share) or 1, math.tointeger(before) or 1
local function size(full) return math.max(1, math.floor(full * share)) end
local foreign = ffi.load('build/Release/libturnkey_foreign.so')
local add = foreign:func('int foreign_add(int, int)')
local call_back = foreign:func('int foreign_call_back_many(int (*)(int), int)')

-- `work`: of Lua's own between two callouts; for 10, 10,000 or 1,000,000 callouts a second, about, on a processor of 2025.
local function callouts(count, work)
  return function()
    local sum, noise = 0, 0
    for i = 1, size(count) do
      for j = 1, work do noise = (noise + j * i) & 0xffff end
      sum = add(sum, i & 7)
    end
    return sum .. '/' .. noise
  end
end

local programs = {
  ['binary-trees'] = function()
    local function tree(depth) return depth == 0 and {} or {tree(depth - 1), tree(depth - 1)} end
    local function count(node) return node[1] and 1 + count(node[1]) + count(node[2]) or 1 end
    local sum = 0
    for _ = 1, size(12) do sum = sum + count(tree(12)) end
    return sum
  end,
  strings = function()
    local words = {}
    for i = 1, size(30000) do words[#words + 1] = ('%d:%s'):format(i, ('x'):rep(i % 17)) end
    local text = table.concat(words, ' ')
    local seen, bytes = 0, 0
    for word in text:gmatch('%d+:x*') do seen = seen + 1 bytes = bytes + #word:upper() end
    return seen .. '/' .. bytes .. '/' .. #text:gsub('x', 'yz')
  end,
  ['spectral-norm'] = function()
    local n = size(100)
    local function a(i, j) local ij = i + j - 1 return 1.0 / (ij * (ij - 1) * 0.5 + i) end
    local u, v = {}, {}
    for i = 1, n do u[i] = 1 end
    for _ = 1, 3 do
      for i = 1, n do local s = 0 for j = 1, n do s = s + a(i, j) * u[j] end v[i] = s end
      for i = 1, n do local s = 0 for j = 1, n do s = s + a(j, i) * v[j] end u[i] = s end
    end
    local uv, vv = 0, 0
    for i = 1, n do uv = uv + u[i] * v[i] vv = vv + v[i] * v[i] end
    return ('%.9f'):format(math.sqrt(uv / vv))
  end,
  ['callouts-10'] = callouts(1, 8000000),
  ['callouts-10000'] = callouts(300, 8000),
  ['callouts-1000000'] = callouts(20000, 60),
  callbacks = function()
    local sum = 0
    for _ = 1, size(200) do sum = sum + call_back(function(x) return x & 3 end, 20) end
    return sum
  end,
  -- A program as users have them: text is made, checked by a C library, sorted by a C function with a Lua comparator.
  ['checksums'] = function()
    local checksum = foreign:func('uint64_t foreign_checksum(const uint8_t *, uint64_t)')
    local sum = 0
    for i = 1, size(3000) do
      local text = ('record %d '):format(i):rep(20)
      sum = sum ~ checksum(text, #text)
    end
    return sum
  end,
}

local program = programs[name] or error('there is no program ' .. tostring(name))
local samples, answer, callouts_before = {}, nil, 0
for i = 1 - before, runs do
  collectgarbage()   -- before the others, too: where the heap lies by then is as it will be
  if i == 1 then callouts_before = turnkey.statistics().callouts end
  local start = turnkey.clock()
  local found = program()
  local took = turnkey.clock() - start
  assert(answer == nil or answer == found)
  answer = found
  if i > 0 then samples[i] = ('%.0f'):format(took * 1e9) end
end
print(('{"samples":[%s],"repeats":1,"warmUp":%d,"found":{"callouts":%.0f},"answer":"%s"}'):format(table.concat(samples, ','), before,
  (turnkey.statistics().callouts - callouts_before) / runs, answer))
