# Tests of the trap: gate, faults, signals, threads, callbacks. Included from CMakeLists.txt.
if(NOT TARGET turnkey_trap)
  return()
endif()
turnkey_test(trap_registers SOURCES trap_registers.c trap_probe_x86_64.S LIBRARIES turnkey_trap m)
set(faulty ${CMAKE_CURRENT_BINARY_DIR}/trap_faulty_library.so)
add_library(trap_faulty_library MODULE trap_faulty_library.c)
set_target_properties(trap_faulty_library PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
turnkey_test(trap_faults SOURCES trap_faults.c trap_throw.cpp trap_probe_x86_64.S trap_faulty_library.S LIBRARIES turnkey_trap m)
set_source_files_properties(trap_faulty_library.S PROPERTIES
  COMPILE_DEFINITIONS "FAULTY_LIBRARY=\"${faulty}\""
  OBJECT_DEPENDS ${faulty})
add_dependencies(trap_faults trap_faulty_library)
turnkey_test(trap_signals SOURCES trap_signals.c LIBRARIES turnkey_trap)
turnkey_test(trap_callbacks SOURCES trap_callbacks.c LIBRARIES turnkey_trap m)
turnkey_test(trap_threads SOURCES trap_threads.c LIBRARIES turnkey_trap)
turnkey_test(trap_tables SOURCES trap_tables.c LIBRARIES turnkey_trap)
turnkey_test(trap_mechanisms SOURCES trap_mechanisms.c LIBRARIES turnkey_trap)
turnkey_test(trap_model SOURCES trap_model.c LIBRARIES turnkey_trap)
