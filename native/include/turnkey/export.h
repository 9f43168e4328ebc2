/*
 * export.h: what stands around the declarations of each public header. The shared libraries export what is declared
 * there and nothing else; the static ones export nothing from the program or module that they are linked into.
 *
 * There is one copy of Turnkey per process. Two modules that each carry the static libraries would both install
 * handlers for the same signals, and know nothing of each other's images.
 */
#ifndef TURNKEY_EXPORT_H
#define TURNKEY_EXPORT_H

#ifdef TURNKEY_BUILDING_SHARED /* set while the shared libraries are compiled, by nobody else */
#define TURNKEY_EXPORT_BEGIN _Pragma("GCC visibility push(default)")
#define TURNKEY_EXPORT_END _Pragma("GCC visibility pop")
#else
#define TURNKEY_EXPORT_BEGIN
#define TURNKEY_EXPORT_END
#endif

#ifdef __cplusplus /* some functions are named as the structure that they return, which C++ takes for a shadowed \
                      constructor */
#define TURNKEY_API_BEGIN \
  TURNKEY_EXPORT_BEGIN _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"") extern "C" {
#define TURNKEY_API_END \
  }                     \
  _Pragma("GCC diagnostic pop") TURNKEY_EXPORT_END
#else
#define TURNKEY_API_BEGIN TURNKEY_EXPORT_BEGIN
#define TURNKEY_API_END TURNKEY_EXPORT_END
#endif

#endif
