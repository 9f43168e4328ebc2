# cmake -DNM=… "-DARCHIVES=a.a;b.a" -P archives.cmake: every symbol that a static archive shows to whoever links it
# begins with a prefix of ours. Hidden visibility does not help there: a name without one would clash with a VM's own.
foreach(archive IN LISTS ARCHIVES)
  execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${archive} OUTPUT_VARIABLE listing
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${listing}")
  set(count 0)
  set(strangers "")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE " .*" "" name "${line}")
    if(name MATCHES ":$" OR name STREQUAL "")
      continue() # a member's heading
    endif()
    math(EXPR count "${count} + 1")
    # DW.ref.…: the compiler's own, for a personality function
    if(NOT name MATCHES "^(pkeys_|trap_|turnkey_|DW\\.ref\\.trap_|DW\\.ref\\.__gcc_personality_v0$)")
      list(APPEND strangers ${name})
    endif()
  endforeach()
  if(count LESS 20 OR strangers)
    message(FATAL_ERROR "${archive}: ${count} global symbols, without a prefix of ours: ${strangers}")
  endif()
  message(STATUS "${archive}: all ${count} global symbols have a prefix of ours")
endforeach()
