# The gate's own tests: its call frame information, and random signatures. The C of them is written into the build
# tree: 10,000 take about 15 s of one core to compile (-O0: a compiler that optimises sees through what is to be
# tested, and takes four times as long).
set(TURNKEY_SIGNATURES 10000 CACHE STRING "how many random signatures the gate is tested with")
set(TURNKEY_SIGNATURE_SEED 1 CACHE STRING "which ones")
find_program(TURNKEY_NODE node)
# cmake-js builds the addon; the C layers' tests are plain CMake's
if(NOT TARGET turnkey_trap OR DEFINED CMAKE_JS_INC)
  return()
endif()
set(abi ${TURNKEY_MACHINE})
if(WIN32)
  set(abi windows)
endif()
if(abi STREQUAL "x86_64")
  turnkey_test(gate_unwind SOURCES gate_unwind.c LIBRARIES turnkey_trap turnkey_pkeys)
  turnkey_test(gate_registers SOURCES gate_registers.c LIBRARIES turnkey_trap turnkey_pkeys)
  target_compile_options(gate_registers PRIVATE -O1 -Wno-psabi)
elseif(NOT WIN32)
  turnkey_test(gate_unwind SOURCES gate_unwind_${TURNKEY_MACHINE}.c LIBRARIES turnkey_trap turnkey_pkeys)
endif()
if(NOT TURNKEY_NODE)
  message(WARNING "node was not found: the test of random signatures is left out")
  return()
endif()

set(parts 8)
set(generated ${CMAKE_CURRENT_BINARY_DIR}/signatures)
set(sources ${generated}/signature_types.c)
math(EXPR last "${parts} - 1")
foreach(part RANGE ${last})
  list(APPEND sources ${generated}/signature_part_${part}.c)
endforeach()
add_custom_command(
  OUTPUT ${sources} ${generated}/signature_types.h
  COMMAND ${TURNKEY_NODE} ${CMAKE_CURRENT_SOURCE_DIR}/signature_generate.mjs
    --count ${TURNKEY_SIGNATURES} --seed ${TURNKEY_SIGNATURE_SEED} --parts ${parts} --out ${generated} --machine ${abi}
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/signature_generate.mjs
  VERBATIM)
add_library(signatures OBJECT ${sources})
target_include_directories(signatures PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${generated})
target_link_libraries(signatures PRIVATE turnkey_options)
# Bit-fields as on Linux: their layout is not what is tested.
target_compile_options(signatures PRIVATE -O0 -g0 -Wno-psabi $<$<BOOL:${WIN32}>:-mno-ms-bitfields>)
turnkey_test(signature_test SOURCES signature_test.c $<TARGET_OBJECTS:signatures> LIBRARIES turnkey_trap turnkey_pkeys)
