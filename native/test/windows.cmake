# What of the C layers' tests runs on Windows: the same files as elsewhere. Under Wine where this is a cross build
# (CMAKE_CROSSCOMPILING_EMULATOR).
foreach(part masks image loan mechanism)
  turnkey_test(pkeys_${part} SOURCES pkeys_${part}.c LIBRARIES turnkey_pkeys)
endforeach()
include(trap_list.cmake)

# Without the vectored handler the list must fail.
add_executable(trap_list_unhandled $<TARGET_PROPERTY:trap_list,SOURCES> unhandled_windows.c)
target_link_libraries(trap_list_unhandled PRIVATE turnkey_options turnkey_trap Threads::Threads)
target_compile_options(trap_list_unhandled PRIVATE $<TARGET_PROPERTY:trap_list,COMPILE_OPTIONS>)
add_test(NAME trap_without_handler COMMAND ${CMAKE_COMMAND}
  "-DPROGRAM=${CMAKE_CROSSCOMPILING_EMULATOR};$<TARGET_FILE:trap_list_unhandled>"
  "-DTESTS=null and wild;division by zero;innermost;10,000 faults;stack overflows in a row" -P
  ${CMAKE_CURRENT_SOURCE_DIR}/must_fail.cmake)

turnkey_test(trap_windows SOURCES trap_windows.c trap_kept_windows.S LIBRARIES turnkey_trap)
target_compile_options(trap_windows PRIVATE $<$<COMPILE_LANGUAGE:C>:-O1 -fno-delete-null-pointer-checks
  -fno-optimize-sibling-calls -fno-inline>)

include(signature.cmake)
include(mutants.cmake)
