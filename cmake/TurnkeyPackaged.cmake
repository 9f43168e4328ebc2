# turnkey_packaged(PROGRAM [LINK-OPTION…])
#
# The objects of a static program once more, linked dynamically: packaged/PROGRAM in the build folder, which the npm
# package carries (scripts/package.mjs). Four static programs hold the C library four times, and would make the package
# half as large again.
function(turnkey_packaged program)
  if(NOT DEFINED CMAKE_JS_INC)
    return()
  endif()
  add_executable(${program}-packaged $<TARGET_OBJECTS:${program}>)
  # the layers once for all, in the shared libraries that lie beside the programs in the package
  get_target_property(libraries ${program} LINK_LIBRARIES)
  list(TRANSFORM libraries REPLACE "^turnkey_(pkeys|trap)$" "turnkey_\\1_shared")
  target_link_libraries(${program}-packaged PRIVATE ${libraries})
  target_link_options(${program}-packaged PRIVATE ${ARGN})
  set_target_properties(${program}-packaged PROPERTIES
    LINKER_LANGUAGE C
    OUTPUT_NAME ${program}
    BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "$ORIGIN"
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/packaged)
endfunction()
