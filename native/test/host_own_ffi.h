/* host_own_ffi.h: a library that carries a libffi of its own. */
#ifndef TURNKEY_TEST_HOST_OWN_FFI_H
#define TURNKEY_TEST_HOST_OWN_FFI_H

/* What the library's ffi_call gives as a result: 4711. */
long own_ffi_call(void);
/* What the library's ffi_prep_closure_loc answers: 4712. */
int own_ffi_prepare(void);
/* How often the library's own functions were called. */
unsigned own_ffi_calls(void);

/* The same library under the names of pip's cffi. */
long own_cffi_call(void);
int own_cffi_prepare(void);
unsigned own_cffi_calls(void);

#endif
