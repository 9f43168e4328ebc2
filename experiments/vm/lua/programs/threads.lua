-- Two states on two threads, an image each: one allocates, the other is in callouts most of the time, or idle. Arguments: busy or idle; seconds. One line: ns of one of the allocating
-- state's rounds, the mean over all, and the bystander faults that the process took meanwhile.
local what, seconds = ...
local other
if what == 'busy' then
  other = turnkey.spawn([[
    local nap = ffi.load('build/Release/libturnkey_foreign.so'):func('void foreign_sleep_ms(int)')
    local stop = turnkey.clock() + tonumber(...)
    local made = 0
    while turnkey.clock() < stop do nap(1) made = made + 1 end
    return made
  ]], seconds)
end
local stop = turnkey.clock() + tonumber(seconds) * 0.9
local before = turnkey.statistics()
local start, rounds = turnkey.clock(), 0
while turnkey.clock() < stop do
  local kept = {}
  for i = 1, 2000 do kept[i] = {i, tostring(i)} end
  rounds = rounds + 1
end
local mean = (turnkey.clock() - start) / rounds * 1e9
local after = turnkey.statistics()
local made = other and other:join() or 0
assert(turnkey.check())
print(('{"samples":[%.0f],"repeats":1,"observed":{"bystanderFaults":%d,"bystanderWaitedNs":%d,"unprotectedWindows":%d,"otherCallouts":%d}}'):format(mean,
  after.bystanderFaults - before.bystanderFaults, after.bystanderWaitedNs - before.bystanderWaitedNs, after.bystanderWindows - before.bystanderWindows, made))
