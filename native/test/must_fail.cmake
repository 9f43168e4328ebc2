# cmake -DPROGRAM="EMULATOR;…;PROGRAM" -DTESTS="name;name" -P must_fail.cmake: every test of that program whose name
# contains one of the words fails, and there are at least as many tests as words.
list(LENGTH TESTS wanted)
execute_process(COMMAND ${PROGRAM} ${TESTS} OUTPUT_VARIABLE text ERROR_VARIABLE ignored RESULT_VARIABLE status)
string(REGEX MATCHALL "(^|\n)ok [0-9]+ - [^\n]*" passed "${text}")
string(REGEX MATCHALL "\nnot ok [0-9]+ - [^\n]*" failed "${text}")
list(LENGTH failed count)
if(passed OR count LESS wanted OR status EQUAL 0)
  message(FATAL_ERROR "expected ${wanted} failed tests and none passed; ${count} failed; passed: ${passed}\n${text}")
endif()
message(STATUS "${count} tests fail, as they must")
