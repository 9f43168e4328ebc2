/*
 * trap_handling.c: the word by which a thread knows that it is in the handler. It lies in thread-local storage, where
 * any callee may write it (inside_linux.c, `handling`). Its place is read from this program's symbol table.
 *
 * elf(5); "ELF Handling For Thread-Local Storage", variant II: the program's block ends at the thread pointer.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "trap_common.h"

/* NULL: this program was stripped. */
static volatile uint64_t *find_handling(void) {
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat status;
  CHECK(file >= 0 && fstat(file, &status) == 0);
  const char *base = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  CHECK(base != MAP_FAILED);
  const Elf64_Ehdr *head = (const Elf64_Ehdr *)base;
  const Elf64_Phdr *parts = (const Elf64_Phdr *)(base + head->e_phoff);
  const Elf64_Shdr *sections = (const Elf64_Shdr *)(base + head->e_shoff);
  uint64_t block = 0, offset = UINT64_MAX;
  for (int i = 0; i < head->e_phnum; i++)
    if (parts[i].p_type == PT_TLS) block = (parts[i].p_memsz + parts[i].p_align - 1) & ~(parts[i].p_align - 1);
  for (int i = 0; i < head->e_shnum; i++) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const Elf64_Sym *symbols = (const Elf64_Sym *)(base + sections[i].sh_offset);
    const char *names = base + sections[sections[i].sh_link].sh_offset;
    for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; s++)
      if (ELF64_ST_TYPE(symbols[s].st_info) == STT_TLS && strcmp(names + symbols[s].st_name, "handling") == 0)
        offset = symbols[s].st_value;
  }
  if (block == 0 || offset == UINT64_MAX) return NULL;
  return (volatile uint64_t *)((uintptr_t)__builtin_thread_pointer() - block + offset);
}

static volatile uint64_t *word;
static int *volatile nowhere = (int *)16;
static void fills_and_aborts(uint64_t value) {
  *word = value;
  abort();
}
static void fills_and_faults(uint64_t value) {
  *word = value;
  *nowhere = 1;
}

CHECK_TEST(filled,
           "I6: a callee that fills the handler's thread-local word, and then aborts or faults, fails its callout") {
  /* Broken once: any value but 0 taken for HANDLING_MAGIC: the process dies. */
  CHECK_EQ(trap_init(), 0);
  word = find_handling();
  if (word == NULL) CHECK_SKIP("this program was stripped of its symbols");
  CHECK_EQ(*word, 0);
  struct trap_fault fault;
  const uint64_t values[] = {0, 1, 0x4141414141414141u, UINT64_MAX};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    GUARD(fills_and_aborts, 0, 0)(values[i]);
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(fault.signal, SIGABRT);
    GUARD(fills_and_faults, 0, 0)(values[i]);
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(fault.signal, SIGSEGV);
    CHECK_EQ(*word, 0);
    CHECK_HONEST();
  }
}

CHECK_MAIN()
