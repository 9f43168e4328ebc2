/*
 * pkeys_test_windows.h: what the tests of native/pkeys ask of Windows. Included by pkeys_test.h.
 */

/* As things are now: no key and no thread makes a difference here. Not by ReadProcessMemory: Wine reads past the
 * protection for it. */
static inline DWORD test_protection(const void *address, bool *known) {
  MEMORY_BASIC_INFORMATION info;
  *known = VirtualQuery(address, &info, sizeof info) != 0 && info.State != MEM_FREE;
  return *known && info.State == MEM_COMMIT ? info.Protect : PAGE_NOACCESS;
}
static inline bool can_read(const void *address) {
  bool known;
  return (test_protection(address, &known) &
          (PAGE_READONLY | PAGE_READWRITE | PAGE_WRITECOPY | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE)) != 0;
}
static inline bool can_write(void *address) {
  bool known;
  return (test_protection(address, &known) & (PAGE_READWRITE | PAGE_WRITECOPY | PAGE_EXECUTE_READWRITE)) != 0;
}
/* No page has a key. access, if not NULL, gets "rw-p" and so on. */
static inline int smaps_key(const void *address, char access[5]) {
  bool known;
  DWORD protection = test_protection(address, &known);
  if (access)
    memcpy(access,
           protection == PAGE_READWRITE || protection == PAGE_WRITECOPY ? "rw-p"
           : protection == PAGE_READONLY                                ? "r--p"
                                                                        : "---p",
           5);
  return known ? 0 : -1;
}

#define TEST_READ PAGE_READONLY
#define TEST_READ_WRITE PAGE_READWRITE
#define TEST_EXECUTE PAGE_EXECUTE
static inline int test_protect(void *address, size_t bytes, int access) {
  DWORD before;
  return VirtualProtect(address, bytes, (DWORD)access, &before) ? 0 : -1;
}
static inline bool test_map_over(void *address, size_t bytes) {
  return VirtualFree(address, bytes, MEM_DECOMMIT) &&
         VirtualAlloc(address, bytes, MEM_COMMIT, PAGE_READWRITE) == address;
}
static inline char *test_reserve(size_t bytes) { return VirtualAlloc(NULL, bytes, MEM_RESERVE, PAGE_NOACCESS); }
static inline int test_unmap(void *address, size_t bytes) { return VirtualFree(address, bytes, MEM_DECOMMIT) ? 0 : -1; }
static inline void test_all_keys(void) {}

static inline void test_interrupts(void (*handler)(int), int every_us) { (void)handler, (void)every_us; }
#define NEEDS_INTERRUPTS() CHECK_SKIP("Windows has no signals: nothing interrupts a thread and runs on it")
#define NEEDS_MAPPINGS()                                                                                             \
  CHECK_SKIP("Windows counts no mappings, and a page that was given back is committed again by the call that gives " \
             "it access")

static bool (*test_decide)(uintptr_t address);
static inline LONG WINAPI test_on_fault(EXCEPTION_POINTERS *pointers) {
  if (pointers->ExceptionRecord->ExceptionCode != EXCEPTION_ACCESS_VIOLATION) return EXCEPTION_CONTINUE_SEARCH;
  if (!test_decide(pointers->ExceptionRecord->ExceptionInformation[1])) _exit(77);
  return EXCEPTION_CONTINUE_EXECUTION;
}
static inline void test_faults(bool (*decide)(uintptr_t address)) {
  test_decide = decide;
  AddVectoredExceptionHandler(1, test_on_fault);
}
