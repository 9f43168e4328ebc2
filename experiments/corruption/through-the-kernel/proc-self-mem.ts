/**
 * Does a write to /proc/self/mem reach the image?
 *
 * Stands for code patchers and debuggers. 8 bytes to 'old' by pwrite(2).
 * Varies: mechanism. Records: the kernel's answer. The kernel forces this access: neither keys, nor read-only pages,
 * nor sealing stop it. Booted with proc_mem.force_override=never, Linux 6.12 no longer writes through read-only pages
 * (mprotect: EIO, nothing written). It still writes through keys: remote access does not ask them. A keyed page is
 * writable by its protection, so nothing need be forced (tried in a guest with 6.12.95).
 */
import { type CorruptionCase, expectRound, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pwrite(2) to /proc/self/mem',
  expected: ({ mechanism }) =>
    expectRound(
      needsKeys(mechanism)
        ? 'remote access asks for no key, and a keyed page is writable by its protection: nothing need be forced'
        : 'a forced access asks for no protection',
    ),
  remedy: {
    kinds: ['filter'],
    text:
      'a filter of system calls that denies opening /proc/self/mem, or a mount namespace without a writable proc; ' +
      'proc_mem.force_override=never (6.12) helps mprotect and not keys',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_proc_mem_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
