/**
 * Does anything stop a stray write into thread-local storage?
 *
 * Stands for damage to errno, to a VM's "current thread" pointer, to the stack protector's canary. All of them lie in
 * the page that the fs register points at, on key 0. That page may not be denied: the kernel writes a restartable
 * sequence's state there and kills a thread that cannot have it (F4).
 * Every mechanism: the variable changes, the image is equal.
 * Varies: mechanism. Records: the variable, read by a later callout on the same thread.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '8 bytes into a thread-local variable',
  remedy: { kinds: ['process'], text: 'Foreign code in another process, with only what it is lent shared.' },
  expected: () => expectHostDamage('thread-local storage lies on key 0'),
  run(trial) {
    const address = trial.foreign('uint64_t foreign_thread_local_address(void)')();
    const value = trial.foreign('uint64_t foreign_thread_local_value(void)');
    trial.canary('thread-local variable', () => BigInt(value() as bigint) === 0x5a5a5a5a5a5a5a5an);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(address, 0x4141414141414141n);
  },
};
