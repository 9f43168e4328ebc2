-- A heap of 4 MiB: exhaustion is Lua's own error, and the state goes on.
local kept = {}
local ok, why = pcall(function() for i = 1, 1e7 do kept[i] = ('x'):rep(1000) .. i end end)
local reached = #kept
kept = nil
collectgarbage()
local libc = ffi.load('libc.so.6')
print(ok, why, reached > 1000, turnkey.check(), libc:func('int abs(int)')(-3), #('y'):rep(1000000))
