# What a Fiddle callout costs: SAMPLES times CALLOUTS calls of labs. Prints one line of JSON.
require 'fiddle'

samples, callouts = ARGV.map { |word| Integer(word) }
labs = Fiddle::Function.new(Fiddle::Handle::DEFAULT['labs'], [Fiddle::TYPE_LONG], Fiddle::TYPE_LONG)
clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) }
sample = lambda do
  start = clock.call
  i = 0
  while i < callouts
    labs.call(-5)
    i += 1
  end
  clock.call - start
end
sample.call
puts "[#{Array.new(samples) { sample.call.to_f / callouts }.join(', ')}]"
