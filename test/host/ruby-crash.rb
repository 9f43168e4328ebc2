# A fault that is no callout's: libruby itself reads address 16, of which Ruby writes its report before it ends.
require 'fiddle'

length = Fiddle::Function.new(Fiddle::Handle::DEFAULT['rb_str_length'], [Fiddle::TYPE_UINTPTR_T], Fiddle::TYPE_LONG)
$stdout.puts 'before the fault'
$stdout.flush
length.call(16)
puts 'not reached'
