# An unported VM behind native/host (host.c), under each mechanism. The test program calls libffi as a VM does.
if(NOT TARGET turnkey_host OR TURNKEY_STATIC_TESTS OR CMAKE_CROSSCOMPILING)
  return()
endif()
add_executable(host_refused host_refused.c)
target_include_directories(host_refused PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_options(host_refused PRIVATE -Wl,--no-as-needed)
target_link_libraries(host_refused PRIVATE turnkey_host turnkey_options)
add_test(NAME host_refused COMMAND host_refused)
set_tests_properties(host_refused PROPERTIES ENVIRONMENT "TURNKEY_HOST_ADAPTER=ffi;TURNKEY_HOST_MECHANISM=none")
find_path(TURNKEY_FFI_INCLUDE ffi.h)
find_library(TURNKEY_FFI ffi)
if(NOT TURNKEY_FFI_INCLUDE OR NOT TURNKEY_FFI)
  message(STATUS "libffi-dev is missing: the tests host_* are not built")
  return()
endif()
add_library(host_foreign SHARED host_foreign.c)
target_link_libraries(host_foreign PRIVATE Threads::Threads)
# it must fault as written
target_compile_options(host_foreign PRIVATE -Wall -Wextra -Werror -fno-delete-null-pointer-checks)
add_library(host_own_ffi SHARED host_own_ffi.c)
add_library(host_own_cffi SHARED host_own_ffi.c) # with the names that pip's cffi has
target_compile_definitions(host_own_cffi PRIVATE ffi_call=cffistatic_ffi_call
  own_ffi_call=own_cffi_call own_ffi_prepare=own_cffi_prepare own_ffi_calls=own_cffi_calls)
# its calls of its own functions are made by way of the search order
foreach(library host_own_ffi host_own_cffi)
  target_compile_options(${library} PRIVATE -Wall -Wextra -Werror -fsemantic-interposition)
endforeach()
add_executable(host_vm host.c)
target_include_directories(host_vm PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${TURNKEY_FFI_INCLUDE})
# first, and though it defines nothing that the program lacks: as a preloaded library comes first
target_link_options(host_vm PRIVATE -Wl,--no-as-needed)
target_link_libraries(host_vm PRIVATE turnkey_host turnkey_options host_foreign ${TURNKEY_FFI} host_own_ffi
  host_own_cffi Threads::Threads)
foreach(mechanism flag mprotect-range pkeys)
  add_test(NAME host_${mechanism} COMMAND host_vm)
  set_tests_properties(host_${mechanism} PROPERTIES
    ENVIRONMENT "TURNKEY_HOST_ADAPTER=ffi;TURNKEY_HOST_HEAP=anonymous;TURNKEY_HOST_MECHANISM=${mechanism}")
endforeach()
# for test/squeak: a Squeak VM whose heap grows
add_library(squeak_grow SHARED squeak_grow.c)
target_link_libraries(squeak_grow PRIVATE turnkey_options)
set_tests_properties(host_pkeys PROPERTIES LABELS "emulated")
