/*
 * platform_windows.c: threads, foreign stacks and the loader on Windows. Ordinary VM code, but for trap_landed_windows
 * and trap_callback_frame, which the gate calls.
 *
 * TlsAlloc, FlsAlloc (its callback is a thread's last word), VirtualAlloc, SetThreadStackGuarantee, _resetstkoflw (what
 * it does, trap_landed_windows does for a stack of ours).
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define TEB_TLS_SLOTS 0x1480
#define TEB_TLS_SLOT_COUNT 64

uint32_t trap_tls_offset;

struct trap_frame *trap_callback_frame(void);
void trap_landed_windows(struct trap_frame *frame);

/* ---- threads ------------------------------------------------------------------------------------------------- */

static DWORD exit_slot;
static void (*exit_call)(struct trap_slot *slot);

void trap_say(const char *text) {
  DWORD written;
  WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)strlen(text), &written, NULL);
}

int32_t trap_thread_number(void) { return (int32_t)GetCurrentThreadId(); }
int32_t trap_process_number(void) { return (int32_t)GetCurrentProcessId(); }

static void CALLBACK thread_exits(void *slot) {
  if (slot != NULL) exit_call(slot);
}

int trap_platform_init(void (*exits)(struct trap_slot *slot), const struct trap_fork *fork) {
  (void)fork;
  DWORD index = TlsAlloc();
  if (index == TLS_OUT_OF_INDEXES) return -EAGAIN;
  if (index >= TEB_TLS_SLOT_COUNT) { /* further ones lie elsewhere */
    TlsFree(index);
    return -EAGAIN;
  }
  exit_call = exits;
  exit_slot = FlsAlloc(thread_exits);
  if (exit_slot == FLS_OUT_OF_INDEXES) return -EAGAIN;
  trap_tls_offset = TEB_TLS_SLOTS + 8 * index;
  return 0;
}

int trap_thread_begin(struct trap_slot *slot) {
  ULONG guarantee = STACK_GUARANTEE; /* room for the system's frames and our handler when a stack has overflowed */
  if (!SetThreadStackGuarantee(&guarantee)) return -ENOMEM;
  return FlsSetValue(exit_slot, slot) ? 0 : -ENOMEM;
}

void trap_thread_end(struct trap_slot *slot) { (void)slot; }

/* ---- stacks -------------------------------------------------------------------------------------------------- */

/*
 * From the bottom: STACK_GUARD_LOW without access; `usable`: a page without access, PAGE_GUARD pages, the stack;
 * STACK_GUARD_HIGH without access. All of the stack is committed at once. So its bounds are known before every call,
 * whatever the callee did to the TEB, and nothing grows; a stack costs its size in commit charge, not in memory.
 */
static bool guard_put(uint64_t low) {
  DWORD before;
  return VirtualAlloc((void *)(uintptr_t)(low + PKEYS_PAGE), STACK_GUARD_PAGES_BYTES, MEM_COMMIT, PAGE_READWRITE) !=
             NULL &&
         VirtualProtect((void *)(uintptr_t)(low + PKEYS_PAGE), STACK_GUARD_PAGES_BYTES, PAGE_READWRITE | PAGE_GUARD,
                        &before);
}

int trap_stack_map(uint64_t usable, uint64_t *base) {
  _Static_assert(STACK_GUARD_PAGES_BYTES == STACK_GUARANTEE + PKEYS_PAGE &&
                     STACK_RESERVED == STACK_GUARD_PAGES_BYTES + PKEYS_PAGE,
                 "layout");
  void *map = VirtualAlloc(NULL, STACK_GUARD_LOW + usable + STACK_GUARD_HIGH, MEM_RESERVE, PAGE_NOACCESS);
  if (map == NULL) return -ENOMEM;
  uint64_t low = (uint64_t)(uintptr_t)map + STACK_GUARD_LOW;
  if (VirtualAlloc((void *)(uintptr_t)(low + STACK_RESERVED), usable - STACK_RESERVED, MEM_COMMIT, PAGE_READWRITE) ==
          NULL ||
      !guard_put(low)) {
    VirtualFree(map, 0, MEM_RELEASE);
    return -ENOMEM;
  }
  *base = (uint64_t)(uintptr_t)map;
  return 0;
}

void trap_stack_unmap(uint64_t base, uint64_t map_bytes) {
  (void)map_bytes;
  VirtualFree((void *)(uintptr_t)base, 0, MEM_RELEASE);
}

/* The guard is used up by the fault that it raises; put back, the next overflow is a fault again. */
void trap_landed_windows(struct trap_frame *frame) {
  DWORD error = GetLastError();
  if ((frame->flags & FRAME_OVERFLOWED) &&
      !(frame->stack_high != 0 ? guard_put(frame->stack_low) : _resetstkoflw() != 0))
    trap_die("the guard of a stack that had overflowed could not be put back", SIGABRT);
  trap_landed(frame);
  SetLastError(error);
}

struct trap_frame *trap_callback_frame(void) {
  struct trap_slot *slot = trap_slot_find();
  return &slot->frames[slot->level - 1];
}

/* ---- signal masks: none -------------------------------------------------------------------------------------- */

void trap_signals_hold(struct trap_masked *before) { before->nothing = 0; }
void trap_signals_hold_asynchronous(struct trap_masked *before) { before->nothing = 0; }
void trap_signals_release(const struct trap_masked *before) { (void)before; }
void trap_mask_read(struct trap_masked *now) { now->nothing = 0; }
void trap_mask_note_held(struct trap_slot *slot, const struct trap_masked *held) { (void)slot, (void)held; }
void trap_mask_note(struct trap_slot *slot) { (void)slot; }
uint64_t trap_mask_word(const struct trap_slot *slot) {
  (void)slot;
  return 0;
}
void trap_mask_put(struct trap_slot *slot, uint64_t word) { (void)slot, (void)word; }

/* ---- modules ------------------------------------------------------------------------------------------------- */

/* The first executable section of each: .text. */
void trap_modules_note(void) {
  static const char *const names[4] = {"ntdll.dll", "kernelbase.dll", "msvcrt.dll", "ucrtbase.dll"};
  for (int i = 0; i < 4; i++) {
    const char *module = (const char *)GetModuleHandleA(names[i]);
    if (module == NULL) continue;
    const IMAGE_NT_HEADERS *headers = (const IMAGE_NT_HEADERS *)(module + ((const IMAGE_DOS_HEADER *)module)->e_lfanew);
    const IMAGE_SECTION_HEADER *section = IMAGE_FIRST_SECTION(headers);
    for (unsigned s = 0; s < headers->FileHeader.NumberOfSections; s++, section++) {
      if (!(section->Characteristics & IMAGE_SCN_MEM_EXECUTE)) continue;
      trap_arena.shared.watched_low[i] = (uint64_t)(uintptr_t)module + section->VirtualAddress;
      trap_arena.shared.watched_high[i] = trap_arena.shared.watched_low[i] + section->Misc.VirtualSize;
      break;
    }
  }
}

static void *loader_open(const char *name, int flags) {
  (void)flags; /* of dlopen's: no meaning here */
  return (void *)LoadLibraryA(name);
}
static int loader_close(void *handle) { return FreeLibrary(handle) ? 0 : -1; }
const void *const trap_loader_open = (const void *)(uintptr_t)loader_open, *const trap_loader_close =
                                                                               (const void *)(uintptr_t)loader_close;

bool trap_loader_message(char *message, size_t bytes) {
  DWORD error = GetLastError();
  if (error == 0) return false;
  char text[256];
  DWORD length = FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, text,
                                sizeof text, NULL);
  while (length > 0 && (text[length - 1] == '\r' || text[length - 1] == '\n')) length--;
  snprintf(message, bytes, "%.*s (Windows error %lu)", (int)length, text, (unsigned long)error);
  return true;
}
