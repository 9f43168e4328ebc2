/*
 * trial_windows.c: one trial of the corruption matrix on Windows: `turnkey-trial CASE MECHANISM`. The cases are those
 * of experiments/corruption/ that are plain C, by the same names and with the same calls.
 *
 * Prints the lines of src/experiment/protocol.ts: what was set up, what the callout did, what came after. An image of
 * five spaces is filled and copied before, compared afterwards; the aftermath allocates, writes a file, loads a library
 * and makes honest callouts, on this thread and another.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mistakes.h"
#include "pkeys.h"
#include "trap.h"

#define SPACES 5
#define SPACE_BYTES (64u << 10)
#define VALUE UINT64_C(0x4141414141414141)
#define GARBAGE UINT64_C(0x4141414141)

static const char *const space_names[SPACES] = {"eden", "survivor", "old", "code", "stack"};
static struct pkeys_image *image;
static struct pkeys_space spaces[SPACES];
static unsigned char *snapshot;
static bool guarding;
static HMODULE library;
static char own_path[MAX_PATH];

/* ---- what a case calls --------------------------------------------------------------------------------------- */

/* A function of the foreign library, guarded where the mechanism has the trap. */
static uintptr_t foreign_in(HMODULE module, const char *name) {
  uintptr_t target = (uintptr_t)GetProcAddress(module, name);
  if (target == 0) {
    fprintf(stderr, "no function %s\n", name);
    exit(2);
  }
  if (!guarding) return target;
  void *code = NULL;
  int rc = trap_thunk((const void *)target, 64, TRAP_CAN_FAIL, NULL, &code);
  if (rc != 0) {
    fprintf(stderr, "no thunk for %s: %d\n", name, rc);
    exit(2);
  }
  return (uintptr_t)code;
}
#define FOREIGN(name) ((__typeof__(&name))foreign_in(library, #name))

/* Some way into old space, not at a page's start. */
static uint64_t in_old(void) { return spaces[2].address + 5 * PKEYS_PAGE + 168; }

static const char *harmless; /* why nothing happened, where that is what happened */
static bool disclosed;
static int64_t answer;
static bool answered;
static struct {
  const char *name;
  bool broken;
} canary;

static void wild_write(void) { FOREIGN(foreign_write64)(in_old(), VALUE); }
static void wild_write_eden(void) { FOREIGN(foreign_write64)(spaces[0].address + 2 * PKEYS_PAGE + 72, VALUE); }
static void vector_store(void) { FOREIGN(foreign_write128)(in_old() + 3, VALUE); }
static void non_temporal_store(void) { FOREIGN(foreign_write_nontemporal)(in_old(), VALUE); }
static void string_fill(void) { FOREIGN(foreign_write_rep)(in_old(), 0x41, 64); }
static void atomic_add(void) { FOREIGN(foreign_atomic_add)(in_old(), 1); }
static void image_start(void) { FOREIGN(foreign_write_rep)(spaces[0].address, 0x41, 64); }
static void overflow(void) {
  void *buffer;
  if (pkeys_space_neighbour(image, 0, 256, &buffer) != 0) exit(2);
  FOREIGN(foreign_overflow)(buffer, 256 + 32, 0x41);
}
static void retained_pointer(void) {
  FOREIGN(foreign_keep)((void *)(uintptr_t)in_old());
  FOREIGN(foreign_scribble)(0x41, 32);
}
static void stray_read(void) {
  uint64_t word;
  memcpy(&word, (const void *)(uintptr_t)in_old(), sizeof word);
  disclosed = FOREIGN(foreign_read64)(in_old()) == word;
}
static int writes_in_callback(int value) {
  volatile uint64_t *at = (volatile uint64_t *)(uintptr_t)in_old();
  uint64_t before = *at;
  *at = VALUE;
  canary.broken = *at != VALUE;
  *at = before;
  return 2 * value;
}
static void callback_writes(void) {
  void *code = (void *)(uintptr_t)writes_in_callback;
  if (guarding && trap_callback(code, 0, &code) != 0) exit(2);
  canary.name = "own write by a callback";
  canary.broken = true;
  if (FOREIGN(foreign_call_back)((foreign_callback)(uintptr_t)code, 20) != 41) canary.broken = true;
}
static void malloc_heap(void) {
  unsigned char *block = malloc(64);
  memset(block, 0x5a, 64);
  canary.name = "malloc block";
  FOREIGN(foreign_write64)((uint64_t)(uintptr_t)block + 16, VALUE);
  for (int i = 0; i < 64; i++) canary.broken = canary.broken || block[i] != 0x5a;
}
static void null_pointer(void) { FOREIGN(foreign_null_write)(); }
static void call_garbage(void) { FOREIGN(foreign_call)(GARBAGE); }
static void return_to_garbage(void) { FOREIGN(foreign_return_to)(GARBAGE); }
static void divide_by_zero(void) { FOREIGN(foreign_divide)(1, 0); }
static void illegal_instruction(void) { FOREIGN(foreign_illegal)(); }
static void misaligned_vector(void) { FOREIGN(foreign_misaligned_sse)(); }
static void direction_flag(void) { FOREIGN(foreign_fault_with_df)(); }
static void stack_overflow(void) { FOREIGN(foreign_recurse)(0, 64); }
static void large_frame(void) { FOREIGN(foreign_recurse)(0, 65536); }
static void smash_own_frame(void) { FOREIGN(foreign_smash_own)(VALUE); }
static void stack_pivot(void) { FOREIGN(foreign_push_on)(spaces[4].address + 5 * PKEYS_PAGE + 64, VALUE); }
static void abort_(void) { FOREIGN(foreign_abort)(); }
static void exit_now(void) { FOREIGN(foreign_exit_now)(3); }
static void cpp_exception(void) {
  HMODULE throwing = LoadLibraryA("turnkey_foreign_throw.dll");
  ((int (*)(int))foreign_in(throwing, "foreign_throw"))(1);
}
static void thread_during(void) {
  answer = FOREIGN(foreign_thread_write_during)(in_old(), VALUE);
  answered = true;
}
static void thread_fault(void) { FOREIGN(foreign_thread_fault)(); }

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
    {"wild-write", wild_write},
    {"wild-write-eden", wild_write_eden},
    {"vector-store", vector_store},
    {"non-temporal-store", non_temporal_store},
    {"string-fill", string_fill},
    {"atomic-add", atomic_add},
    {"image-start", image_start},
    {"overflow", overflow},
    {"retained-pointer", retained_pointer},
    {"callback-writes", callback_writes},
    {"stray-read", stray_read},
    {"malloc-heap", malloc_heap},
    {"null-pointer", null_pointer},
    {"call-garbage", call_garbage},
    {"return-to-garbage", return_to_garbage},
    {"divide-by-zero", divide_by_zero},
    {"illegal-instruction", illegal_instruction},
    {"misaligned-vector", misaligned_vector},
    {"direction-flag", direction_flag},
    {"stack-overflow", stack_overflow},
    {"large-frame", large_frame},
    {"smash-own-frame", smash_own_frame},
    {"stack-pivot", stack_pivot},
    {"abort", abort_},
    {"cpp-exception", cpp_exception},
    {"exit-now", exit_now},
    {"thread-during", thread_during},
    {"thread-fault", thread_fault},
};
#define CASES (sizeof cases / sizeof *cases)

/* ---- JSON ---------------------------------------------------------------------------------------------------- */

static void text(const char *value) {
  putchar('"');
  for (; *value; value++) {
    if (*value == '"' || *value == '\\') putchar('\\');
    if ((unsigned char)*value >= 32) putchar(*value);
  }
  putchar('"');
}
static void end_line(void) {
  puts("}");
  fflush(stdout);
}

static const char *code_name(uint32_t code) {
  switch (code) {
    case EXCEPTION_ACCESS_VIOLATION: return "EXCEPTION_ACCESS_VIOLATION";
    case EXCEPTION_IN_PAGE_ERROR: return "EXCEPTION_IN_PAGE_ERROR";
    case EXCEPTION_STACK_OVERFLOW: return "EXCEPTION_STACK_OVERFLOW";
    case EXCEPTION_ILLEGAL_INSTRUCTION: return "EXCEPTION_ILLEGAL_INSTRUCTION";
    case EXCEPTION_PRIV_INSTRUCTION: return "EXCEPTION_PRIV_INSTRUCTION";
    case EXCEPTION_INT_DIVIDE_BY_ZERO: return "EXCEPTION_INT_DIVIDE_BY_ZERO";
    case EXCEPTION_DATATYPE_MISALIGNMENT: return "EXCEPTION_DATATYPE_MISALIGNMENT";
    case 0x40000015u: return "STATUS_FATAL_APP_EXIT";
    case 0x20474343u: return "C++ exception (GCC)";
    case 0xE06D7363u: return "C++ exception (Microsoft)";
    default: return "exception";
  }
}

static void print_fault(const struct trap_fault *fault) {
  static const char *const accesses[] = {"unknown", "read", "write", "execute"}, *const phases[] = {"call", "load",
                                                                                                    "decode"};
  HMODULE module;
  char path[MAX_PATH] = "";
  if (GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                         (LPCSTR)(uintptr_t)fault->pc, &module))
    GetModuleFileNameA(module, path, sizeof path);
  printf("{\"signal\":\"%s\",\"siCode\":%" PRId32 ",\"siCodeName\":\"0x%08" PRIX32 "\",\"address\":\"0x%" PRIx64
         "\",\"access\":\"%s\",\"pkey\":null,\"space\":",
         code_name((uint32_t)fault->code), fault->code, (uint32_t)fault->code, fault->address,
         accesses[fault->access & 3]);
  if (fault->space_found) text(fault->space_name);
  else printf("null");
  printf(",\"spaceKey\":%s,\"pc\":\"0x%" PRIx64 "\",\"pcModule\":", fault->space_found ? "0" : "null", fault->pc);
  if (path[0]) text(strrchr(path, '\\') ? strrchr(path, '\\') + 1 : path);
  else printf("null");
  printf(",\"symbol\":null,\"phase\":\"%s\",\"image\":\"unknown\"}", phases[fault->phase % 3]);
}

/* ---- aftermath ----------------------------------------------------------------------------------------------- */

static bool allocates(void) {
  for (size_t bytes = 1; bytes < 8u << 20; bytes = bytes * 3 + 1) {
    unsigned char *block = malloc(bytes);
    if (block == NULL) return false;
    memset(block, 1, bytes);
    block = realloc(block, 2 * bytes);
    if (block == NULL) return false;
    free(block);
  }
  return HeapValidate(GetProcessHeap(), 0, NULL) != 0;
}
static bool writes_a_file(void) {
  FILE *file = tmpfile();
  char line[16] = "";
  bool works = file != NULL && fprintf(file, "after\n") > 0 && fseek(file, 0, SEEK_SET) == 0 &&
               fgets(line, sizeof line, file) != NULL && strcmp(line, "after\n") == 0;
  if (file != NULL) fclose(file);
  return works;
}
static bool loads(void) {
  HMODULE module = LoadLibraryA("version.dll");
  return module != NULL && FreeLibrary(module);
}
static bool honest(void) {
  struct trap_fault fault;
  return FOREIGN(foreign_add)(40, 2) == 42 && (!guarding || !trap_take_fault(&fault));
}
static DWORD WINAPI honest_there(void *result) {
  *(volatile bool *)result = honest();
  return 0;
}
static bool honest_elsewhere(void) {
  volatile bool result = false;
  HANDLE thread = CreateThread(NULL, 0, honest_there, (void *)&result, 0, NULL);
  if (thread == NULL) return false;
  WaitForSingleObject(thread, INFINITE);
  CloseHandle(thread);
  return result;
}
static bool spaces_closed_and_open(void) { return pkeys_image_verify_tags(image, NULL) == 0; }

static const struct {
  const char *step;
  bool (*works)(void);
} aftermath[] = {{"allocation", allocates},     {"stdio", writes_a_file},
                 {"loading a library", loads},  {"access of the image's pages", spaces_closed_and_open},
                 {"an honest callout", honest}, {"one on another thread", honest_elsewhere}};

static void print_diff(void) {
  uint64_t changed = 0;
  unsigned ranges = 0;
  printf("\"diff\":{\"ranges\":[");
  for (int s = 0; s < SPACES; s++) {
    const unsigned char *now = (const unsigned char *)spaces[s].address, *before = snapshot + (size_t)s * SPACE_BYTES;
    for (size_t i = 0; i < SPACE_BYTES; i++) {
      if (now[i] == before[i]) continue;
      size_t first = i;
      while (i < SPACE_BYTES && now[i] != before[i]) i++;
      changed += i - first;
      if (ranges < 8)
        printf("%s{\"space\":\"%s\",\"offset\":%zu,\"bytes\":%zu}", ranges ? "," : "", space_names[s], first,
               i - first);
      ranges++;
    }
  }
  printf("],\"changedBytes\":%" PRIu64 ",\"heap\":null}", changed);
}

/* ---- the trial ----------------------------------------------------------------------------------------------- */

static LONG WINAPI unhandled(EXCEPTION_POINTERS *pointers) { /* at once: no dialogue, no debugger */
  char line[80];
  DWORD written;
  snprintf(line, sizeof line, "unhandled exception 0x%08lx at pc 0x%" PRIx64 "\n",
           (unsigned long)pointers->ExceptionRecord->ExceptionCode, (uint64_t)pointers->ContextRecord->Rip);
  WriteFile(GetStdHandle(STD_ERROR_HANDLE), line, (DWORD)strlen(line), &written, NULL);
  TerminateProcess(GetCurrentProcess(), pointers->ExceptionRecord->ExceptionCode);
  return EXCEPTION_EXECUTE_HANDLER;
}

static void set_up(enum pkeys_mechanism mechanism) {
  struct pkeys_space_request requests[SPACES];
  for (int s = 0; s < SPACES; s++)
    requests[s] = (struct pkeys_space_request){.name = space_names[s], .bytes = SPACE_BYTES, .deny = PKEYS_NO_WRITE};
  int rc = trap_init();
  if (rc == 0) rc = pkeys_image_map(requests, SPACES, PKEYS_KEY_PER_IMAGE, &image, NULL);
  for (int s = 0; rc == 0 && s < SPACES; s++) rc = pkeys_image_space(image, (size_t)s, &spaces[s]);
  snapshot = malloc((size_t)SPACES * SPACE_BYTES);
  for (int s = 0; rc == 0 && s < SPACES; s++) {
    for (size_t i = 0; i < SPACE_BYTES; i++)
      ((unsigned char *)spaces[s].address)[i] = (unsigned char)(i * 31 + (size_t)s * 7 + (i >> 8));
    memcpy(snapshot + (size_t)s * SPACE_BYTES, (const void *)spaces[s].address, SPACE_BYTES);
  }
  if (rc == 0) rc = pkeys_image_set_mechanism(image, mechanism);
  if (rc != 0) {
    struct pkeys_probe probe;
    pkeys_probe(&probe);
    printf("@trial {\"stage\":\"failed\",\"reason\":");
    text(rc == -EOPNOTSUPP ? probe.reason : "the image could not be set up");
    end_line();
    exit(0);
  }
  printf("@trial {\"stage\":\"set up\",\"vmModules\":[");
  text(strrchr(own_path, '\\') ? strrchr(own_path, '\\') + 1 : own_path);
  printf("],\"spaces\":[");
  for (int s = 0; s < SPACES; s++)
    printf("%s{\"name\":\"%s\",\"address\":\"0x%" PRIx64 "\",\"bytes\":%u,\"key\":0}", s ? "," : "", space_names[s],
           (uint64_t)spaces[s].address, SPACE_BYTES);
  printf("]");
  end_line();
}

int main(int argc, char **argv) {
  SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
  SetUnhandledExceptionFilter(unhandled);
  GetModuleFileNameA(NULL, own_path, sizeof own_path);
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (size_t i = 0; i < CASES; i++) puts(cases[i].name);
    return 0;
  }
  enum pkeys_mechanism mechanism;
  size_t which = 0;
  while (argc == 3 && which < CASES && strcmp(argv[1], cases[which].name) != 0) which++;
  if (argc != 3 || which == CASES || pkeys_mechanism_parse(argv[2], &mechanism) != 0) {
    fprintf(stderr, "usage: turnkey-trial CASE MECHANISM, or --list\n");
    return 2;
  }
  guarding = mechanism != PKEYS_MECHANISM_NONE;
  library = LoadLibraryA("turnkey_foreign.dll");
  if (library == NULL) return 2;
  set_up(mechanism);

  cases[which].run();

  struct trap_fault fault;
  bool failed = guarding && trap_take_fault(&fault);
  printf("@trial {\"stage\":\"called\",\"inapplicable\":");
  if (harmless) text(harmless);
  else printf("null");
  printf(",\"fault\":");
  if (failed) print_fault(&fault);
  else printf("null");
  printf(",\"answer\":");
  if (answered) printf("\"%" PRId64 "\"", answer);
  else printf("null");
  printf(",\"errno\":null,\"disclosed\":%s,\"notes\":[]", disclosed ? "true" : "false");
  end_line();

  bool works[sizeof aftermath / sizeof *aftermath];
  for (size_t i = 0; i < sizeof aftermath / sizeof *aftermath; i++) works[i] = aftermath[i].works();
  printf("@trial {\"stage\":\"finished\",\"aftermath\":[");
  for (size_t i = 0; i < sizeof aftermath / sizeof *aftermath; i++)
    printf("%s{\"step\":\"%s\",\"ok\":%s,\"detail\":\"\"}", i ? "," : "", aftermath[i].step,
           works[i] ? "true" : "false");
  printf("],");
  print_diff();
  printf(",\"canaries\":[");
  if (canary.name) printf("{\"name\":\"%s\",\"intact\":%s}", canary.name, canary.broken ? "false" : "true");
  printf("]");
  end_line();
  return 0;
}
