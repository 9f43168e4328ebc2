# What one call through the gate costs over a raw call, row by row. Static, so that the same file runs in a guest; and
# against the shared C library, as a VM is linked: there sigsetjmp is called through the PLT.
foreach(kind gate-bench gate-bench-shared)
  add_executable(turnkey-${kind} gate_bench.c gate_bench_calls.c gate_bench_rows.c)
  target_link_libraries(turnkey-${kind} PRIVATE turnkey_options turnkey_trap turnkey_pkeys Threads::Threads)
  target_compile_options(turnkey-${kind} PRIVATE -O2)
  set_target_properties(turnkey-${kind} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/Release)
endforeach()
target_link_options(turnkey-gate-bench PRIVATE -static)
target_link_options(turnkey-gate-bench-shared PRIVATE -Wl,-z,now)
