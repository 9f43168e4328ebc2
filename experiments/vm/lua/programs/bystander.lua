-- Two states on two threads, an image each: this one allocates, the other is in callouts of a millisecond, one after the other. Whom does that make wait? A trial of the case lua-bystander: it tells of itself as every
-- trial does (src/experiment/protocol.ts).
local trial = require 'trial'
local foreign = ffi.load('build/Release/libturnkey_foreign.so')
local add = foreign:func('int foreign_add(int, int)')
local SECONDS = 0.5

trial.set_up()
local before = turnkey.statistics()
local other = turnkey.spawn([[
  local nap = ffi.load('build/Release/libturnkey_foreign.so'):func('void foreign_sleep_ms(int)')
  local stop, made = turnkey.clock() + tonumber(...), 0
  while turnkey.clock() < stop do nap(1) made = made + 1 end
  return made
]], tostring(SECONDS))
local stop, rounds = turnkey.clock() + SECONDS * 0.9, 0
while turnkey.clock() < stop do
  local kept = {}
  for i = 1, 200 do kept[i] = {i, tostring(i)} end
  rounds = rounds + 1
end
local after = turnkey.statistics()
local made = other:join()
local faults = after.bystanderFaults - before.bystanderFaults
local told = ('bystander faults: %d, which waited %.0f ms; unprotected windows: %d; callouts of the other state: %d; rounds of 200 allocations meanwhile: %d'):format(faults,
  (after.bystanderWaitedNs - before.bystanderWaitedNs) / 1e6, after.bystanderWindows - before.bystanderWindows, made, rounds)
trial.called(nil, told, {})

local closed_to_all = turnkey.mechanism:find('^mprotect') ~= nil
trial.step('only what is closed to everybody makes a bystander wait', function()
  if made == 0 or rounds == 0 then error('the two states did not work side by side', 0) end
  if closed_to_all and faults == 0 then error('no bystander fault, though the heap was closed to everybody', 0) end
  if not closed_to_all and faults > 0 then error(('%d bystander faults, though nothing is closed to a thread outside of callouts'):format(faults), 0) end
  return ('%d bystander faults under %s'):format(faults, turnkey.mechanism)
end)
trial.aftermath(add)
trial.finished(nil)   -- the heap is not compared: this VM's own work went on in it meanwhile
