/** What the cases of hostile callees share: a function of native/foreign/hostile.c that stores to the image. */
import type { Trial } from '../../src/experiment/index.js';
import type { Remedy } from '../../src/record/records.js';

/** In one address space the VM cannot do without what such a callee jumps to. */
export const OWN_PROCESS: Remedy = {
  kinds: ['process'],
  text: 'a process of its own: in one address space the VM cannot do without the instruction',
};

/** Calls foreign_hostile_NAME with an address in 'old' and 8 bytes to store there. */
export function hostileStore(trial: Trial, name: string): void {
  const store = trial.foreign(`int64_t foreign_hostile_${name}(uint64_t address, uint64_t value)`);
  trial.answered(store(trial.addressIn('old'), 0x4141414141414141n));
}
