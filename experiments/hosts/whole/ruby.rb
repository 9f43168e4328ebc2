# A whole program with a real library: zlib's checksums of a log's lines, or rows of an SQLite table in memory.
# Arguments: program, callouts, units of own work between two of them. Prints its CPU time and its answer as JSON.
require 'fiddle'

program, callouts, units = ARGV
units = Integer(units)
ROWS = 100
WARM = 400 # the first callouts are not timed, and have less work between them
words = Hash.new(0)

work = lambda do |start|
  i = start
  while i < start + units
    key = "word #{i * 7919 % 997}"
    words[key] += key.size
    i += 1
  end
end

function = lambda do |library, name, *types|
  Fiddle::Function.new(library[name], types, Fiddle::TYPE_LONG)
end
POINTER = Fiddle::TYPE_VOIDP
INT = Fiddle::TYPE_INT

# Prepares everything; what it returns makes callouts and is timed.
zlib = lambda do
  crc32 = function.call(Fiddle.dlopen('libz.so.1'), 'crc32', Fiddle::TYPE_LONG, POINTER, INT)
  lambda do |callouts|
    total = 0
    callouts.times do |i|
      line = format('%08d a line of the log', i)
      total = (total * 31 + crc32.call(0, line, line.bytesize)) % 1_000_003
      work.call(i)
    end
    total
  end
end

# As zlib.
sqlite = lambda do
  library = Fiddle.dlopen('libsqlite3.so.0')
  open = function.call(library, 'sqlite3_open', POINTER, POINTER)
  exec = function.call(library, 'sqlite3_exec', POINTER, POINTER, POINTER, POINTER, POINTER)
  prepare = function.call(library, 'sqlite3_prepare_v2', POINTER, POINTER, INT, POINTER, POINTER)
  bind = function.call(library, 'sqlite3_bind_int', POINTER, INT, INT)
  step = function.call(library, 'sqlite3_step', POINTER)
  column = function.call(library, 'sqlite3_column_int', POINTER, INT)
  reset = function.call(library, 'sqlite3_reset', POINTER)
  place = Fiddle::Pointer.malloc(8, Fiddle::RUBY_FREE)
  raise 'open' unless open.call(':memory:', place).zero?

  base = place.ptr
  rows = Array.new(ROWS) { |i| "INSERT INTO t VALUES (#{i}, #{i * i});" }.join
  exec.call(base, "CREATE TABLE t (a INTEGER PRIMARY KEY, b INT);#{rows}", nil, nil, nil)
  prepare.call(base, 'SELECT b FROM t WHERE a = ?', -1, place, nil)
  query = place.ptr
  lambda do |callouts|
    total = 0
    (callouts / 4).times do |i|
      bind.call(query, 1, i % ROWS)
      step.call(query)
      total += column.call(query, 0) & 0xffffffff
      reset.call(query)
      4.times { |part| work.call(4 * i + part) }
    end
    total
  end
end

run = { 'zlib' => zlib, 'sqlite' => sqlite }.fetch(program).call
clock = -> { Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :nanosecond) }
wanted = units
units = [units, 500].min
run.call(WARM)
units = wanted
start = clock.call
answer = run.call(Integer(callouts))
puts %({"cpuNs": #{clock.call - start}, "answer": [#{answer}, #{words.values.sum}]})
