# The list that the trap must pass on every system and ABI.
if(NOT TARGET turnkey_trap)
  return()
endif()
turnkey_test(trap_list SOURCES trap_list.c trap_throw.cpp LIBRARIES turnkey_trap)
# It must fault as written.
target_compile_options(trap_list PRIVATE -O1 -fno-delete-null-pointer-checks -fno-optimize-sibling-calls
  -Wno-infinite-recursion -Wno-div-by-zero)
