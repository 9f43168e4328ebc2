# Projects that use an installed copy of Turnkey: test/consumer and the examples, built as a user would build them.
# The programs are tests in both lanes.
if(NOT TARGET turnkey_trap OR NOT TURNKEY_SHARED OR TURNKEY_STATIC_TESTS)
  return()
endif()
find_program(PKG_CONFIG pkg-config)
if(CMAKE_CROSSCOMPILING)
  get_filename_component(toolchain ${CMAKE_TOOLCHAIN_FILE} ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
  set(toolchain -DCMAKE_TOOLCHAIN_FILE=${toolchain})
  unset(PKG_CONFIG)
  unset(PKG_CONFIG CACHE)
else()
  set(toolchain -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER})
endif()
set(consumer ${PROJECT_BINARY_DIR}/consumer)
set(installed ${consumer}/installed)
file(MAKE_DIRECTORY ${consumer})
get_property(libraries GLOBAL PROPERTY TURNKEY_LIBRARIES)

file(GLOB package_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/* ${PROJECT_SOURCE_DIR}/native/include/turnkey/*
  ${PROJECT_SOURCE_DIR}/native/pkeys/pkeys*.h ${PROJECT_SOURCE_DIR}/native/trap/*.h)
add_custom_command(OUTPUT ${consumer}/installed.stamp
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${installed}
  COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --component development --prefix ${installed} >
  ${consumer}/install.log
  COMMAND ${CMAKE_COMMAND} -E touch ${consumer}/installed.stamp
  DEPENDS ${libraries} ${package_files} VERBATIM)

# turnkey_consumer(FOLDER KIND PROGRAMS…): builds the project with Turnkey_SHARED_LIBS on for KIND shared, and makes a
# test of each program.
set(consumer_stamps ${consumer}/installed.stamp)
function(turnkey_consumer folder kind)
  get_filename_component(project ${folder} NAME)
  set(out ${consumer}/${project}-${kind})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*)
  string(COMPARE EQUAL ${kind} shared shared)
  add_custom_command(OUTPUT ${out}.stamp
    COMMAND ${CMAKE_COMMAND} --no-warn-unused-cli -S ${PROJECT_SOURCE_DIR}/${folder} -B ${out}
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${installed} -DTurnkey_SHARED_LIBS=${shared} ${toolchain} >
    ${out}.log
    COMMAND ${CMAKE_COMMAND} -E env MAKEFLAGS=--no-print-directory ${CMAKE_COMMAND} --build ${out} --clean-first
    COMMAND ${CMAKE_COMMAND} -E touch ${out}.stamp
    DEPENDS ${consumer}/installed.stamp ${sources} VERBATIM)
  set(consumer_stamps ${consumer_stamps} ${out}.stamp PARENT_SCOPE)
  foreach(program IN LISTS ARGN)
    add_test(NAME installed_${project}_${kind}_${program} COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} ${out}/${program})
  endforeach()
endfunction()

foreach(kind static shared)
  turnkey_consumer(test/consumer ${kind} calls from-cpp)
endforeach()
turnkey_consumer(examples/guard-a-call static guard-a-call)
turnkey_consumer(examples/tiny-vm static tiny-vm-tests-mapped tiny-vm-tests-own)
add_test(NAME installed_dlopen COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} ${consumer}/consumer-static/opens
  ${installed}/${CMAKE_INSTALL_LIBDIR}/libturnkey_trap.so)
# The loader gives no more room in the static block than it must.
set_tests_properties(installed_dlopen PROPERTIES ENVIRONMENT GLIBC_TUNABLES=glibc.rtld.optional_static_tls=0)

# The same through pkg-config.
if(PKG_CONFIG)
  set(out ${consumer}/pkg-config)
  add_custom_command(OUTPUT ${out}.stamp
    COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
    COMMAND ${CMAKE_COMMAND} -E env MAKEFLAGS= PKG_CONFIG_PATH=${installed}/${CMAKE_INSTALL_LIBDIR}/pkgconfig
      make -B -C ${PROJECT_SOURCE_DIR}/test/consumer OUT=${out} PKG_CONFIG=${PKG_CONFIG} CC=${CMAKE_C_COMPILER}
      CXX=${CMAKE_CXX_COMPILER} > ${out}.log
    COMMAND ${CMAKE_COMMAND} -E touch ${out}.stamp
    DEPENDS ${consumer}/consumer-static.stamp VERBATIM)
  list(APPEND consumer_stamps ${out}.stamp)
  foreach(program calls-shared calls-static from-cpp-shared)
    add_test(NAME installed_pkgconfig_${program} COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} ${out}/${program})
  endforeach()
else()
  message(STATUS "no pkg-config: the installed copy is not tested through it")
endif()

add_custom_target(turnkey_consumers ALL DEPENDS ${consumer_stamps})

# What the libraries export is what the public headers declare.
add_test(NAME installed_exports COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DINSTALLED=${installed}
  -DLIBDIR=${CMAKE_INSTALL_LIBDIR} -P ${CMAKE_CURRENT_SOURCE_DIR}/exports.cmake)
