/*
 * Calls and instructions that take a protection away: remapping, keys freed or allocated, PKRU restored from memory or
 * by a signal's return, an entry of another module's global offset table. mremap(2), pkey_alloc(2), pkeys(7); SDM vol.
 * 1, 13 (XSAVE); dl_iterate_phdr(3).
 */
#define _GNU_SOURCE
#include "around.h"

#include <cpuid.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static void *at(uint64_t address) { return (void *)(uintptr_t)address; }

int64_t foreign_move_away(uint64_t address, uint64_t bytes) {
  void *elsewhere = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (elsewhere == MAP_FAILED) return -errno;
  return mremap(at(address), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == MAP_FAILED ? -errno : 0;
}

int64_t foreign_swap_in(uint64_t address, uint64_t bytes) {
  void *fresh = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh == MAP_FAILED) return -errno;
  memset(fresh, 0x41, bytes);
  return mremap(fresh, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at(address)) == MAP_FAILED ? -errno : 0;
}

int64_t foreign_free_all_keys(void) {
  int count = 0;
  for (int key = 1; key < 16; key++) syscall(SYS_pkey_free, key);
  while (syscall(SYS_pkey_alloc, 0, 0) > 0) count++; /* each comes with its rights open */
  return count > 0 ? count : -errno;
}

int64_t foreign_key_of_its_own(void) {
  int key = pkey_alloc(0, 0);
  if (key < 0) return -errno;
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED || pkey_mprotect(page, 4096, PROT_READ | PROT_WRITE, key) != 0) return -errno;
  pkey_set(key, PKEY_DISABLE_WRITE);
  pkey_set(key, 0);
  *(volatile int *)page = 1;
  return key;
}

/* Where XSAVE's standard form keeps PKRU; 0 without keys. */
static uint32_t pkru_offset(void) {
  unsigned a, b, c = 0, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (c & (1u << 4)) == 0) return 0;
  return __get_cpuid_count(0xd, 9, &a, &b, &c, &d) && a >= 4 ? b : 0;
}

int64_t foreign_xrstor(uint32_t pkru) {
  static uint8_t area[16384] __attribute__((aligned(64)));
  uint32_t offset = pkru_offset();
  if (offset == 0 || offset + 4 > sizeof area) return -ENOSYS;
  uint64_t features = UINT64_C(1) << 9;
  memset(area, 0, sizeof area);
  memcpy(area + 512, &features, sizeof features);
  memcpy(area + offset, &pkru, sizeof pkru);
  __asm__ volatile("xrstor64 %0" : : "m"(area), "a"(1u << 9), "d"(0) : "memory");
  return 0;
}

static uint32_t wanted_pkru;
static void edits(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  uint8_t *area = (uint8_t *)((ucontext_t *)context)->uc_mcontext.fpregs;
  uint64_t features;
  memcpy(&features, area + 512, sizeof features);
  features |= UINT64_C(1) << 9;
  memcpy(area + 512, &features, sizeof features);
  memcpy(area + pkru_offset(), &wanted_pkru, sizeof wanted_pkru);
}

int64_t foreign_sigreturn(uint32_t pkru) {
  if (pkru_offset() == 0) return -ENOSYS;
  struct sigaction old, action = {.sa_sigaction = edits, .sa_flags = SA_SIGINFO};
  wanted_pkru = pkru;
  if (sigaction(SIGUSR1, &action, &old) != 0) return -errno;
  raise(SIGUSR1);
  sigaction(SIGUSR1, &old, NULL);
  return 0;
}

/* The rights opened and used in the same call; where there are no keys the store is made all the same. */
static int64_t then_write(int64_t result, uint64_t address, uint64_t value) {
  foreign_write64(address, value);
  return result;
}
int64_t foreign_mprotect_open_write(uint64_t page, uint64_t address, uint64_t value) {
  return then_write(foreign_mprotect_open(page, 4096), address, value);
}
int64_t foreign_pkey_untag_write(uint64_t page, uint64_t address, uint64_t value) {
  return then_write(foreign_pkey_untag(page, 4096), address, value);
}
int64_t foreign_free_all_keys_write(uint64_t address, uint64_t value) {
  return then_write(foreign_free_all_keys(), address, value);
}
int64_t foreign_key_of_its_own_write(uint64_t address, uint64_t value) {
  return then_write(foreign_key_of_its_own(), address, value);
}
int64_t foreign_wrpkru_write(uint32_t pkru, uint64_t address, uint64_t value) {
  return then_write(foreign_wrpkru(pkru), address, value);
}
int64_t foreign_xrstor_write(uint32_t pkru, uint64_t address, uint64_t value) {
  return then_write(foreign_xrstor(pkru), address, value);
}
int64_t foreign_sigreturn_write(uint32_t pkru, uint64_t address, uint64_t value) {
  return then_write(foreign_sigreturn(pkru), address, value);
}

/* ---- global offset tables ------------------------------------------------------------------------------------ */

static uint64_t redirect_address;
static int redirected;
/* Not static: the stub below names them by the symbol table. Hidden, so that no entry of a table is needed for it. */
__attribute__((visibility("hidden"))) uint64_t foreign_redirect_old;
__attribute__((visibility("hidden"), used)) void foreign_redirect_note(void);
void foreign_redirect_note(void) {
  if (redirected++ == 0) *(volatile uint64_t *)at(redirect_address) = UINT64_C(0x4141414141414141);
}
/* Keeps every register that carries arguments, then goes to the old function. */
__asm__(".text\n.type foreign_redirect_stub, @function\nforeign_redirect_stub:\n"
        "push %rbp\nmov %rsp, %rbp\npush %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\npush %rax\nsub "
        "$136, %rsp\nand $-16, %rsp\n"
        "movups %xmm0, (%rsp)\nmovups %xmm1, 16(%rsp)\nmovups %xmm2, 32(%rsp)\nmovups %xmm3, 48(%rsp)\n"
        "call foreign_redirect_note\n"
        "movups (%rsp), %xmm0\nmovups 16(%rsp), %xmm1\nmovups 32(%rsp), %xmm2\nmovups 48(%rsp), %xmm3\n"
        "mov -8(%rbp), %rdi\nmov -16(%rbp), %rsi\nmov -24(%rbp), %rdx\nmov -32(%rbp), %rcx\nmov -40(%rbp), %r8\nmov "
        "-48(%rbp), %r9\nmov -56(%rbp), %rax\n"
        "leave\njmp *foreign_redirect_old(%rip)\n.size foreign_redirect_stub, . - foreign_redirect_stub\n");
extern char foreign_redirect_stub[] __attribute__((visibility("hidden")));

struct search {
  const char *module, *symbol;
  uint64_t *entry;
};

static int look(struct dl_phdr_info *info, size_t size, void *argument) {
  (void)size;
  struct search *search = argument;
  const char *name = strrchr(info->dlpi_name, '/');
  if (strcmp(name == NULL ? info->dlpi_name : name + 1, search->module) != 0) return 0;
  const ElfW(Sym) *symbols = NULL;
  const char *strings = NULL;
  const ElfW(Rela) *relocations = NULL;
  size_t bytes = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    for (const ElfW(Dyn) *dynamic = at(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr); dynamic->d_tag != DT_NULL;
         dynamic++) {
      if (dynamic->d_tag == DT_SYMTAB) symbols = at(dynamic->d_un.d_ptr);
      if (dynamic->d_tag == DT_STRTAB) strings = at(dynamic->d_un.d_ptr);
      if (dynamic->d_tag == DT_JMPREL) relocations = at(dynamic->d_un.d_ptr);
      if (dynamic->d_tag == DT_PLTRELSZ) bytes = dynamic->d_un.d_val;
    }
  }
  if (symbols == NULL || strings == NULL || relocations == NULL) return 0;
  for (size_t i = 0; i < bytes / sizeof *relocations; i++)
    if (strcmp(strings + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name, search->symbol) == 0)
      search->entry = at(info->dlpi_addr + relocations[i].r_offset);
  return 1;
}

int64_t foreign_redirect(const char *module, const char *symbol, uint64_t address) {
  struct search search = {module, symbol, NULL};
  dl_iterate_phdr(look, &search);
  if (search.entry == NULL) return -ENOENT;
  redirect_address = address;
  foreign_redirect_old = *search.entry;
  *search.entry = (uint64_t)(uintptr_t)foreign_redirect_stub;
  return 1;
}
int foreign_redirected_calls(void) { return redirected; }
