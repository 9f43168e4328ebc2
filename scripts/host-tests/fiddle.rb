# Ruby's own tests of Fiddle, run as they are; the last line that is printed has each test's result as JSON.
# scripts/host-tests.mjs runs it unguarded and guarded: fiddle.rb FOLDER, that of Ruby's sources.
sources = ARGV.fetch(0)
ENV['RUBY_TEST_TIMEOUT_SCALE'] ||= '30' # programs that tests start may take so much longer, in a guest above all
$LOAD_PATH.unshift(File.join(sources, 'tool', 'lib'))
require 'etc'
require 'json'
require 'test/unit'

RESULTS = {}

# Test::Unit calls `record` for each test, and again where its teardown fails.
module Recorder
  def record(suite, method, assertions, time, error)
    name = "#{suite.name}##{method}"
    RESULTS[name] = result(error) unless RESULTS.fetch(name, 'ok') != 'ok'
    super
  end

  def result(error)
    case error
    when nil then 'ok'
    when Test::Unit::PendedError then 'skipped'
    when Test::Unit::AssertionFailedError then "failed: #{error.message}"
    else "error: #{error.class}: #{error.message}"
    end
  end
end
Test::Unit::Runner.prepend(Recorder)

at_exit do
  results = RESULTS.transform_values { |text| text.encode('UTF-8', invalid: :replace, undef: :replace) }
  puts
  puts "RESULTS #{JSON.generate(version: RUBY_VERSION, kernel: Etc.uname[:release], results: results)}"
end
Test::Unit::AutoRunner.run(true, File.join(sources, 'test', 'fiddle'), ['--test-order=alpha', '--verbose'])
