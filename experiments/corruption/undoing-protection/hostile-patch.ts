/**
 * Can the callee rewrite the VM's own code?
 *
 * Stands for hooking libraries and hostile code. The callee makes the page of a function of node's writable, and puts a
 * jump to a function of its own there. Next, koffi calls that function with the VM's rights: 8 bytes to 'old' are
 * stored. Varies: mechanism, hardening. Records: the kernel's answer, bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "the first bytes of a function of the VM's overwritten with a jump",
  expected: () => expectRound('the store is made later, by code that runs as the VM'),
  remedy: { kinds: ['seal'], text: "sealing (mseal, 6.10) of the VM's own code; its modules are sealed with it" },
  run(trial) {
    const nothing = trial.foreign('void foreign_nothing(void)');
    trial.answered(
      trial.foreign('int64_t foreign_hostile_patch(const char *function, uint64_t address)')(
        'napi_get_cb_info',
        trial.addressIn('old'),
      ),
    );
    nothing();
  },
};
