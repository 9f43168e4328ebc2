# On ARM64 x18 is the platform's: no instruction of the library names it.
#   cmake -DOBJDUMP=... -DLIBRARY=... -P no_x18.cmake
execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${LIBRARY} OUTPUT_VARIABLE text RESULT_VARIABLE status)
if(NOT status EQUAL 0 OR NOT text MATCHES "trap_gate_slow")
  message(FATAL_ERROR "${OBJDUMP} cannot disassemble ${LIBRARY}")
endif()
if(text MATCHES "[^\n]*[ \t,[][xw]18[],\n][^\n]*")
  message(FATAL_ERROR "x18 is used: ${CMAKE_MATCH_0}")
endif()
