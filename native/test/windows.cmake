# What of the C layers' tests runs on Windows: the same files as elsewhere. Under Wine where this is a cross build (CMAKE_CROSSCOMPILING_EMULATOR).
include(trap_list.cmake)
