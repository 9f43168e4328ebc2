# Callouts on four threads, one in ten of them a fault, with the collector running. Prints "right COUNT FAULTS" if every
# honest callout answered right, every fault was raised, and what was kept meanwhile is whole.
require 'fiddle'

callouts = Integer(ARGV[0])
THREADS = 4
labs = Fiddle::Function.new(Fiddle::Handle::DEFAULT['labs'], [Fiddle::TYPE_LONG], Fiddle::TYPE_LONG)
strlen = Fiddle::Function.new(Fiddle::Handle::DEFAULT['strlen'], [Fiddle::TYPE_UINTPTR_T], Fiddle::TYPE_SIZE_T)

results = THREADS.times.map do |thread|
  Thread.new do
    faults = wrong = 0
    kept = {}
    (callouts / THREADS).times do |i|
      if i % 10 == 9
        begin
          strlen.call(64 + thread)
          wrong += 1
        rescue Turnkey::CalloutError => e
          wrong += 1 if e.address != 64 + thread
          faults += 1
        end
      else
        wrong += 1 if labs.call(-i) != i
      end
      kept[i % 1000] = "#{thread} #{i}" * 20 if i % 7 == 0
      GC.start if i % 20_000 == 0
    end
    kept.each { |_, text| wrong += 1 unless text == text[0, text.size / 20] * 20 && text.start_with?("#{thread} ") }
    [faults, wrong]
  end
end.map(&:value)
faults, wrong = results.transpose.map(&:sum)
puts wrong == 0 ? "right #{callouts} #{faults}" : "#{wrong} wrong"
