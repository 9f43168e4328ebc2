# A program that knows nothing of Turnkey: its callee writes into a frozen Ruby string.
require 'fiddle'

memset = Fiddle::Function.new(Fiddle.dlopen(nil)['memset'],
                              [Fiddle::TYPE_VOIDP, Fiddle::TYPE_INT, Fiddle::TYPE_SIZE_T], Fiddle::TYPE_VOIDP)
motto = 'Keep the key'.freeze
begin
  memset.call(motto, '!'.ord, 8)
rescue StandardError => e
  puts e.message
end
puts "The motto is: #{motto}"
