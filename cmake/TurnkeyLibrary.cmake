# turnkey_library(NAME SOURCES… HEADERS… [REQUIRES NAME…] [SYSTEM_LIBRARIES…] [COMPILE_OPTIONS…] DESCRIPTION TEXT)
#
# A layer of Turnkey as a library: turnkey_NAME, static, which the project itself links, and turnkey_NAME_shared,
# which exports what its public headers declare and nothing else. Both are installed (component `development`), as
# libturnkey_NAME.a and libturnkey_NAME.so, with the headers under include/turnkey/ and a pkg-config file
# turnkey-NAME.pc; the CMake package is written by turnkey_install_package().
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# One version: the npm package's and the libraries'.
file(READ ${PROJECT_SOURCE_DIR}/package.json TURNKEY_PACKAGE)
string(JSON TURNKEY_PACKAGE_VERSION GET ${TURNKEY_PACKAGE} version)
if(NOT TURNKEY_PACKAGE_VERSION VERSION_EQUAL PROJECT_VERSION)
  message(FATAL_ERROR "package.json says version ${TURNKEY_PACKAGE_VERSION}, CMakeLists.txt ${PROJECT_VERSION}")
endif()

configure_file(${PROJECT_SOURCE_DIR}/native/include/turnkey/version.h.in ${PROJECT_BINARY_DIR}/include/turnkey/version.h
  @ONLY)
set_property(GLOBAL PROPERTY TURNKEY_LIBRARIES "")

function(turnkey_library name)
  cmake_parse_arguments(L "" "DESCRIPTION" "SOURCES;HEADERS;REQUIRES;SYSTEM_LIBRARIES;COMPILE_OPTIONS" ${ARGN})
  set(kinds static)
  if(TURNKEY_SHARED)
    list(APPEND kinds shared)
  endif()
  foreach(kind IN LISTS kinds)
    if(kind STREQUAL static)
      set(target turnkey_${name})
      set(suffix "")
      add_library(${target} STATIC ${L_SOURCES})
    else()
      set(target turnkey_${name}_shared)
      set(suffix _shared)
      add_library(${target} SHARED ${L_SOURCES})
      target_compile_definitions(${target} PRIVATE TURNKEY_BUILDING_SHARED)
      # now: a signal handler must not be the first to call a function, and have the loader look it up.
      # nodelete: handlers, thunks and thread-exit hooks point into it for the life of the process. defs: nothing is
      # left to be found by luck.
      target_link_options(${target} PRIVATE -Wl,-z,now -Wl,-z,nodelete -Wl,-z,defs)
      set_target_properties(${target} PROPERTIES OUTPUT_NAME turnkey_${name} VERSION ${PROJECT_VERSION} SOVERSION
        ${PROJECT_VERSION_MAJOR}
        INSTALL_RPATH "$ORIGIN")
    endif()
    set_target_properties(${target} PROPERTIES EXPORT_NAME ${name}_${kind})
    target_include_directories(${target}
      PUBLIC
        $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/native/include>
        $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
      INTERFACE
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:turnkey_options>)
    foreach(required IN LISTS L_REQUIRES)
      target_link_libraries(${target} PUBLIC turnkey_${required}${suffix})
    endforeach()
    target_link_libraries(${target} PUBLIC ${L_SYSTEM_LIBRARIES})
    target_compile_options(${target} PRIVATE ${L_COMPILE_OPTIONS})
    install(TARGETS ${target} EXPORT Turnkey
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
    set_property(GLOBAL APPEND PROPERTY TURNKEY_LIBRARIES ${target})
  endforeach()
  install(FILES ${L_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/turnkey COMPONENT development)

  # The prefix as seen from the file, so that an installed copy can be moved.
  file(RELATIVE_PATH TURNKEY_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" TURNKEY_PC_PREFIX "${TURNKEY_PC_PREFIX}")
  set(TURNKEY_PC_NAME ${name})
  set(TURNKEY_PC_DESCRIPTION ${L_DESCRIPTION})
  list(TRANSFORM L_REQUIRES PREPEND "turnkey-" OUTPUT_VARIABLE TURNKEY_PC_REQUIRES)
  list(JOIN TURNKEY_PC_REQUIRES " " TURNKEY_PC_REQUIRES)
  list(TRANSFORM L_SYSTEM_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE TURNKEY_PC_LIBS_PRIVATE)
  list(JOIN TURNKEY_PC_LIBS_PRIVATE " " TURNKEY_PC_LIBS_PRIVATE)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/turnkey.pc.in ${PROJECT_BINARY_DIR}/cmake/turnkey-${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/turnkey-${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT
    development)
endfunction()

function(turnkey_install_package)
  set(folder ${CMAKE_INSTALL_LIBDIR}/cmake/Turnkey)
  install(FILES ${PROJECT_SOURCE_DIR}/native/include/turnkey/export.h ${PROJECT_BINARY_DIR}/include/turnkey/version.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/turnkey COMPONENT development)
  install(EXPORT Turnkey NAMESPACE Turnkey:: FILE TurnkeyTargets.cmake DESTINATION ${folder} COMPONENT development)
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/TurnkeyConfig.cmake.in
    ${PROJECT_BINARY_DIR}/cmake/TurnkeyConfig.cmake
    INSTALL_DESTINATION ${folder} NO_SET_AND_CHECK_MACRO)
  # While the major version is 0, the minor one says what is compatible.
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/TurnkeyConfigVersion.cmake COMPATIBILITY
    SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/TurnkeyConfig.cmake ${PROJECT_BINARY_DIR}/cmake/TurnkeyConfigVersion.cmake
    DESTINATION ${folder} COMPONENT development)
endfunction()
