# The program of the catalogue on hosts, in Ruby with Fiddle. Arguments: library, callee, target, bytes.
# It knows nothing of Turnkey. It prints a line of JSON after the bad callout, and one after it has worked on.
require 'fiddle'
require 'json'

library, callee, target, size = ARGV
size = size.to_i
VICTIM_BYTES = 20 # such a string lies in its object

Row = Struct.new(:key, :before, :text)
rows = []
2000.times { |key| rows << Row.new(key, rows[key / 2], "row #{key} of the table") }
victims = Array.new(100) { |i| ((97 + i % 26).chr * VICTIM_BYTES).freeze }
victim = victims[50]
by_text = rows.to_h { |row| [row.text, row] }
GC.start

answer = lambda do
  total = 17
  rows.each do |row|
    total += row.text.size * row.key + (row.before ? row.before.key : 0)
    total += by_text["row #{row.key} of the table"].key
  end
  victims.each { |each| total = (total * 31 + each.sum) % 1_000_003 }
  total
end

work_on = lambda do
  made = Array.new(20_000) { |i| Row.new(i, nil, "made #{i}") }
  GC.start
  JSON.parse(JSON.generate(made.first(500).map(&:text))).size + made.map(&:key).uniq.size
end

memory = ->(address, count) { File.open('/proc/self/mem', 'rb') { |file| file.pread(count, address) } }

foreign = Fiddle.dlopen(library)
back = Fiddle::Closure::BlockCaller.new(Fiddle::TYPE_VOID, []) { nil }
function = lambda do |name|
  Fiddle::Function.new(foreign["for_hosts_#{name}"],
                       [Fiddle::TYPE_VOIDP, Fiddle::TYPE_LONG_LONG, Fiddle::TYPE_VOIDP], Fiddle::TYPE_LONG_LONG)
end

LENT_BYTES = 64
lent = Array.new(3) { Fiddle::Pointer.malloc(LENT_BYTES, Fiddle::RUBY_FREE) }
lent.each { |pointer| pointer[0, LENT_BYTES] = "\0" * LENT_BYTES }
object = Fiddle.dlwrap(victim)
places = {
  'payload' => -> { object + memory.call(object, 40).index(victim) },
  'header' => -> { object + 8 }, # the class's address
  'lent' => -> { lent[1].to_i },
  'number' => -> { 5 }
}
at = places.fetch(target).call
watched = target == 'number' ? places['payload'].call : at
expected = answer.call
before = memory.call(watched, 16)
functions = callee.split(',').map(&function)
error = nil
returned = nil
begin
  functions.each { |each| returned = each.call(at, size, back) }
rescue StandardError => e
  raise unless e.respond_to?(:error_name)

  error = { name: e.error_name, signal: e.error_code, code: e.code, address: e.address, pkey: e.pkey,
            module: e.module }
end

intact = lambda do
  next memory.call(watched, 16) == before unless target == 'lent'

  zeros = "\0" * LENT_BYTES
  lent[0][0, LENT_BYTES] == zeros && lent[2][0, LENT_BYTES] == zeros &&
    lent[1][0, LENT_BYTES] == (callee == 'fill' && error.nil? ? 'B' * LENT_BYTES : zeros)
end

$stdout.sync = true
puts JSON.generate(stage: 'called', at: at, error: error, returned: returned, intact: intact.call)
sleep 0.4 # for a thread that the callee left
right = work_on.call == 20_500 && answer.call == expected && function.call('sum').call(lent[2], LENT_BYTES, back).zero?
puts JSON.generate(stage: 'done', right: right, intact: intact.call)
