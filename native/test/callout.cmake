if(CMAKE_CROSSCOMPILING)
  return()
endif()
# Libraries that the tests of guarded koffi calls call (test/callout*.test.ts), where the addon is: handwritten
# shapes, and random signatures, with a description of them for koffi.
add_library(turnkey_callout_foreign SHARED callout_foreign.c)
target_link_libraries(turnkey_callout_foreign PRIVATE turnkey_options)
# It must fault as written.
target_compile_options(turnkey_callout_foreign PRIVATE -O1 -fno-delete-null-pointer-checks -fno-strict-aliasing
  -fno-optimize-sibling-calls)
set_target_properties(turnkey_callout_foreign PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/Release)

find_program(TURNKEY_NODE node)
if(TURNKEY_NODE)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/callout_signatures.c)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${TURNKEY_NODE} ${CMAKE_CURRENT_SOURCE_DIR}/callout_signatures.mjs --count 500 --seed 1 --c ${generated}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/callout_signatures.mjs
    VERBATIM)
  add_library(turnkey_callout_signatures SHARED ${generated})
  target_compile_options(turnkey_callout_signatures PRIVATE -O1 -g0 -w)
  set_target_properties(turnkey_callout_signatures PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/Release)
endif()

# For test/image/refused.test.ts: a command under a filter that refuses what keys need.
if(TURNKEY_MACHINE STREQUAL "x86_64")
  add_executable(turnkey-refuse refuse.c)
  target_link_libraries(turnkey-refuse PRIVATE turnkey_options)
  target_link_options(turnkey-refuse PRIVATE -static)
  set_target_properties(turnkey-refuse PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/Release)
endif()
