/*
 * imports.c: makes one loaded module call something else where it imports a symbol: its slot in the global offset table
 * is overwritten. For functions that the executable itself defines, which no preloaded library can come before. ELF
 * gABI, "Dynamic Section"; System V AMD64 psABI, "Relocation".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

struct search {
  uintptr_t address, base;
  const ElfW(Dyn) * dynamic;
  uintptr_t relro, relro_end;
  bool found;
};

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct search search = {.address = ((struct search *)data)->address, .base = info->dlpi_addr};
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    uintptr_t start = info->dlpi_addr + header->p_vaddr;
    if (header->p_type == PT_LOAD && search.address - start < header->p_memsz) search.found = true;
    if (header->p_type == PT_DYNAMIC) search.dynamic = (const ElfW(Dyn) *)start;
    if (header->p_type == PT_GNU_RELRO) search.relro = start, search.relro_end = start + header->p_memsz;
  }
  if (!search.found) return 0;
  *(struct search *)data = search;
  return 1;
}

static int overwrite(const struct search *module, uintptr_t slot, const void *replacement) {
  uintptr_t page = slot & ~(uintptr_t)(PKEYS_PAGE - 1);
  bool read_only = slot >= module->relro && slot < module->relro_end;
  if (read_only && host_next()->mprotect((void *)page, PKEYS_PAGE, PROT_READ | PROT_WRITE) != 0) return -errno;
  __atomic_store_n((const void **)slot, replacement, __ATOMIC_RELEASE);
  if (read_only) host_next()->mprotect((void *)page, PKEYS_PAGE, PROT_READ);
  return 0;
}

static int replace_in(const struct search *module, const ElfW(Rela) * relocations, size_t bytes,
                      const ElfW(Sym) * symbols, const char *strings, const char *name, const void *replacement,
                      void **before) {
  int rc = -ENOENT;
  for (size_t i = 0; i < bytes / sizeof *relocations; i++) {
    unsigned type = (unsigned)ELF64_R_TYPE(relocations[i].r_info);
    if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) continue;
    if (strcmp(strings + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name, name) != 0) continue;
    rc = overwrite(module, module->base + relocations[i].r_offset, replacement);
    if (rc < 0) return rc;
  }
  if (rc == 0 && before != NULL && *before == NULL) *before = host_dlsym(RTLD_DEFAULT, name);
  return rc;
}

int host_import_replace(const void *inside, const char *symbol, const void *replacement, void **before) {
  struct search module = {.address = (uintptr_t)inside};
  dl_iterate_phdr(visit, &module);
  if (!module.found || module.dynamic == NULL) return -EINVAL;
  const ElfW(Rela) *jumps = NULL, *others = NULL;
  const ElfW(Sym) *symbols = NULL;
  const char *strings = NULL;
  size_t jump_bytes = 0, other_bytes = 0;
  /* The loader has made the addresses in the dynamic section absolute. */
  for (const ElfW(Dyn) *entry = module.dynamic; entry->d_tag != DT_NULL; entry++) {
    if (entry->d_tag == DT_JMPREL) jumps = (const ElfW(Rela) *)entry->d_un.d_ptr;
    if (entry->d_tag == DT_PLTRELSZ) jump_bytes = entry->d_un.d_val;
    if (entry->d_tag == DT_RELA) others = (const ElfW(Rela) *)entry->d_un.d_ptr;
    if (entry->d_tag == DT_RELASZ) other_bytes = entry->d_un.d_val;
    if (entry->d_tag == DT_SYMTAB) symbols = (const ElfW(Sym) *)entry->d_un.d_ptr;
    if (entry->d_tag == DT_STRTAB) strings = (const char *)entry->d_un.d_ptr;
  }
  if (symbols == NULL || strings == NULL) return -EINVAL;
  if (before != NULL) *before = host_dlsym(RTLD_DEFAULT, symbol);
  int first = replace_in(&module, jumps, jump_bytes, symbols, strings, symbol, replacement, before);
  int second = replace_in(&module, others, other_bytes, symbols, strings, symbol, replacement, before);
  return first == 0 || second == 0 ? 0 : first != -ENOENT ? first : second;
}
