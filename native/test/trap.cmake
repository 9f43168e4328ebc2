# Tests of the trap: gate, faults, signals, threads, callbacks. Included from CMakeLists.txt.
if(NOT TARGET turnkey_trap)
  return()
endif()
turnkey_test(trap_registers SOURCES trap_registers.c trap_probe_${TURNKEY_MACHINE}.S LIBRARIES turnkey_trap m)
set(faulty ${CMAKE_CURRENT_BINARY_DIR}/trap_faulty_library.so)
add_library(trap_faulty_library MODULE trap_faulty_library.c)
set_target_properties(trap_faulty_library PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
turnkey_test(trap_faults SOURCES trap_faults.c trap_throw.cpp trap_probe_${TURNKEY_MACHINE}.S trap_faulty_library.S
  LIBRARIES turnkey_trap m)
set_source_files_properties(trap_faulty_library.S PROPERTIES
  COMPILE_DEFINITIONS "FAULTY_LIBRARY=\"${faulty}\""
  OBJECT_DEPENDS ${faulty})
add_dependencies(trap_faults trap_faulty_library)
turnkey_test(trap_signals SOURCES trap_signals.c LIBRARIES turnkey_trap)
turnkey_test(trap_handlers SOURCES trap_handlers.c LIBRARIES turnkey_trap)
turnkey_test(trap_callbacks SOURCES trap_callbacks.c LIBRARIES turnkey_trap m)
turnkey_test(trap_threads SOURCES trap_threads.c LIBRARIES turnkey_trap)
if(TURNKEY_MACHINE STREQUAL "x86_64")
  turnkey_test(trap_armed SOURCES trap_armed_x86_64.c LIBRARIES turnkey_trap)
  turnkey_test(trap_model SOURCES trap_model.c LIBRARIES turnkey_trap)
  turnkey_test(trap_filter SOURCES trap_filter.c LIBRARIES turnkey_trap)
  turnkey_test(trap_handling SOURCES trap_handling.c LIBRARIES turnkey_trap)
else()
  add_test(NAME trap_no_x18 COMMAND ${CMAKE_COMMAND} -DOBJDUMP=${CMAKE_OBJDUMP} -DLIBRARY=$<TARGET_FILE:turnkey_trap> -P
    ${CMAKE_CURRENT_SOURCE_DIR}/no_x18.cmake)
  turnkey_test(trap_context SOURCES trap_context_${TURNKEY_MACHINE}.c LIBRARIES turnkey_trap)
  turnkey_test(trap_overlay SOURCES trap_overlay_${TURNKEY_MACHINE}.c trap_probe_${TURNKEY_MACHINE}.S LIBRARIES
    turnkey_trap)
endif()
find_program(TURNKEY_NODE node)
if(TURNKEY_NODE AND NOT TURNKEY_STATIC_TESTS)
  add_test(NAME trap_circles COMMAND ${TURNKEY_NODE} ${CMAKE_CURRENT_SOURCE_DIR}/circles.mjs --nm ${CMAKE_NM} --library
    $<TARGET_FILE:turnkey_trap>)
  set_tests_properties(trap_circles PROPERTIES LABELS "native")
endif()
turnkey_test(trap_tables SOURCES trap_tables.c LIBRARIES turnkey_trap)
turnkey_test(trap_virtual SOURCES trap_virtual.c LIBRARIES turnkey_trap)
turnkey_test(trap_mechanisms SOURCES trap_mechanisms.c LIBRARIES turnkey_trap)
