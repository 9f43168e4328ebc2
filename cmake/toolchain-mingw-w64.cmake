# Windows x64 by MinGW-w64, tested under Wine. `npm run test:windows` does all of it. By hand:
#   cmake -S . -B build-win -DCMAKE_TOOLCHAIN_FILE=cmake/toolchain-mingw-w64.cmake
# Debian packages: gcc-mingw-w64-x86-64 g++-mingw-w64-x86-64 wine wine64.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
# The posix flavour of the compiler: its C++ library and winpthreads fit each other.
find_program(TURNKEY_MINGW_C NAMES x86_64-w64-mingw32-gcc-posix x86_64-w64-mingw32-gcc REQUIRED)
find_program(TURNKEY_MINGW_CXX NAMES x86_64-w64-mingw32-g++-posix x86_64-w64-mingw32-g++ REQUIRED)
set(CMAKE_C_COMPILER ${TURNKEY_MINGW_C})
set(CMAKE_CXX_COMPILER ${TURNKEY_MINGW_CXX})
set(CMAKE_ASM_COMPILER ${TURNKEY_MINGW_C})
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-static")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static") # libgcc and winpthreads come along: an executable runs as it is
set(CMAKE_CROSSCOMPILING_EMULATOR sh;${CMAKE_CURRENT_LIST_DIR}/wine.sh;${CMAKE_BINARY_DIR}/wineprefix)
