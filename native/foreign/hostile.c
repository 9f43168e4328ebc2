/*
 * A callee that means harm and knows the VM: what is left to it when callouts are hardened (docs/hardening.md). It
 * takes instructions that the VM itself cannot do without, and finds them by their bytes. x86-64.
 *
 * pkeys(7); sigreturn(2); dl_iterate_phdr(3); SDM vol. 2 (WRPKRU).
 */
#define _GNU_SOURCE
#include "around.h"

#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096u

static void *at(uint64_t address) { return (void *)(uintptr_t)address; }
static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

static bool has_keys(void) {
  unsigned a, b, c = 0, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 4)) != 0;
}

/* ---- bytes of the VM's code ----------------------------------------------------------------------------------- */

struct wanted {
  const uint8_t *bytes;
  size_t count;
  const uint8_t *found;
};
static int look(struct dl_phdr_info *info, size_t size, void *argument) {
  (void)size;
  struct wanted *wanted = argument;
  if (strstr(info->dlpi_name, "turnkey.node") == NULL) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X)) continue;
    const uint8_t *text = at(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    wanted->found = memmem(text, info->dlpi_phdr[i].p_memsz, wanted->bytes, wanted->count);
    if (wanted->found != NULL) return 1;
  }
  return 0;
}
static const uint8_t *find(const uint8_t *bytes, size_t count) {
  struct wanted wanted = {bytes, count, NULL};
  dl_iterate_phdr(look, &wanted);
  return wanted.found;
}
static const uint8_t wrpkru_ret[] = {0x0f, 0x01, 0xef, 0xc3};
static const uint8_t syscall_ret[] = {0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05, 0xc3}; /* movq 8(%rsp), %r9 first */
static const uint8_t return_call[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};

/* ---- rights --------------------------------------------------------------------------------------------------- */

int64_t foreign_hostile_pkey_set(uint64_t address, uint64_t value) {
  if (has_keys())
    for (int key = 1; key < 16; key++) pkey_set(key, 0);
  foreign_write64(address, value);
  return sizeof value;
}

int64_t foreign_hostile_gate(uint64_t address, uint64_t value) {
  if (has_keys()) {
    const uint8_t *code = find(wrpkru_ret, sizeof wrpkru_ret);
    if (code == NULL) return -ENOENT;
    __asm__ volatile("call *%0" : : "r"(code), "a"(0), "c"(0), "d"(0) : "memory", "cc");
  }
  foreign_write64(address, value);
  return sizeof value;
}

/* The handler's frame is edited, and returns by the VM's own code, whose calls are not judged. In front of the context
 * lies the address that the handler returns to. */
static const uint8_t *way_back;
static void edits(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  uint8_t *area = (uint8_t *)((ucontext_t *)context)->uc_mcontext.fpregs;
  uint64_t features;
  memcpy(&features, area + 512, sizeof features);
  features &= ~(UINT64_C(1) << 9); /* the initial state: everything open */
  memcpy(area + 512, &features, sizeof features);
  memcpy((uint8_t *)context - sizeof way_back, &way_back, sizeof way_back);
}
int64_t foreign_hostile_return(uint64_t address, uint64_t value) {
  way_back = find(return_call, sizeof return_call);
  if (way_back == NULL) return -ENOENT;
  struct sigaction old, action = {.sa_sigaction = edits, .sa_flags = SA_SIGINFO};
  if (sigaction(SIGUSR1, &action, &old) != 0) return -errno;
  if (has_keys()) raise(SIGUSR1);
  foreign_write64(address, value);
  return sizeof value;
}

/* ---- the kernel ----------------------------------------------------------------------------------------------- */

int64_t foreign_hostile_call(uint64_t address, uint64_t value) {
  const uint8_t *code = find(syscall_ret, sizeof syscall_ret);
  if (code == NULL) return -ENOENT;
  code += 5;
  struct iovec from = {&value, sizeof value}, to = {at(address), sizeof value};
  long own = getpid();
  register long r10 __asm__("r10") = (long)(uintptr_t)&to;
  register long r8 __asm__("r8") = 1;
  register long r9 __asm__("r9") = 0;
  int64_t result;
  __asm__ volatile("call *%[code]"
                   : "=a"(result)
                   : [code] "r"(code), "a"(SYS_process_vm_writev), "D"(own), "S"(&from), "d"(1L), "r"(r10), "r"(r8),
                     "r"(r9)
                   : "rcx", "r11", "memory", "cc");
  return result;
}

int64_t foreign_hostile_write(int file, uint64_t address, uint64_t value) {
  return answer(pwrite(file, &value, sizeof value, (off_t)address));
}

int64_t foreign_hostile_program(const char *path, const char *flag, const char *text) {
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, flag, text, (char *)NULL);
    _exit(127);
  }
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return child < 0 ? -errno : status;
}

/* ---- the VM's own code ---------------------------------------------------------------------------------------- */

static struct {
  uint8_t *function;
  uint8_t before[12];
  uint64_t address;
} patch;

static int64_t rewrite(const uint8_t *bytes) {
  uintptr_t first = (uintptr_t)patch.function & ~(uintptr_t)(PAGE - 1);
  size_t size = ((uintptr_t)patch.function + sizeof patch.before + PAGE - 1 - first) & ~(size_t)(PAGE - 1);
  if (mprotect((void *)first, size, PROT_READ | PROT_WRITE) != 0) return -errno;
  memcpy(patch.function, bytes, sizeof patch.before);
  return answer(mprotect((void *)first, size, PROT_READ | PROT_EXEC));
}
/* Called by the VM in place of the function: the function's own bytes are put back first. */
__attribute__((visibility("hidden"))) uint64_t foreign_hostile_function;
__attribute__((visibility("hidden"), used)) void foreign_hostile_called(void);
void foreign_hostile_called(void) {
  rewrite(patch.before);
  foreign_write64(patch.address, UINT64_C(0x4141414141414141));
}
__asm__(".text\n.type foreign_hostile_stub, @function\nforeign_hostile_stub:\n"
        "push %rbp\nmov %rsp, %rbp\npush %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\npush %rax\n"
        "sub $136, %rsp\nand $-16, %rsp\n"
        "movups %xmm0, (%rsp)\nmovups %xmm1, 16(%rsp)\nmovups %xmm2, 32(%rsp)\nmovups %xmm3, 48(%rsp)\n"
        "call foreign_hostile_called\n"
        "movups (%rsp), %xmm0\nmovups 16(%rsp), %xmm1\nmovups 32(%rsp), %xmm2\nmovups 48(%rsp), %xmm3\n"
        "mov -8(%rbp), %rdi\nmov -16(%rbp), %rsi\nmov -24(%rbp), %rdx\nmov -32(%rbp), %rcx\nmov -40(%rbp), %r8\n"
        "mov -48(%rbp), %r9\nmov -56(%rbp), %rax\n"
        "leave\njmp *foreign_hostile_function(%rip)\n.size foreign_hostile_stub, . - foreign_hostile_stub\n");
extern char foreign_hostile_stub[] __attribute__((visibility("hidden")));

int64_t foreign_hostile_patch(const char *function, uint64_t address) {
  patch.function = dlsym(RTLD_DEFAULT, function);
  if (patch.function == NULL) return -ENOENT;
  patch.address = address;
  foreign_hostile_function = (uint64_t)(uintptr_t)patch.function;
  memcpy(patch.before, patch.function, sizeof patch.before);
  uint8_t jump[sizeof patch.before] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0}; /* movabs $stub, %rax; jmp */
  uint64_t stub = (uint64_t)(uintptr_t)foreign_hostile_stub;
  memcpy(jump + 2, &stub, sizeof stub);
  return rewrite(jump);
}
