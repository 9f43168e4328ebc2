/**
 * Can foreign code read the host's memory outside the image?
 *
 * Stands for any over-read that does not start beside the image: a JavaScript Buffer, malloc's heap, V8's. All of it
 * lies on key 0, which is never denied (I1): the callee needs it to run at all.
 * Every mechanism and denial: disclosed. An image is protected, a process is not.
 * Varies: mechanism, denial. Records: that the secret came back.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '8 bytes read from a JavaScript Buffer through a kept pointer',
  remedy: { kinds: ['process'], text: 'Foreign code in another process, with only what it is lent shared.' },
  expected: () => ({ verdicts: ['disclosed'], why: "the host's memory lies on key 0" }),
  run(trial) {
    const secret = Buffer.from("a secret of JavaScript's");
    trial.foreign('void foreign_keep(const void *pointer)')(secret);
    const address = trial.foreign('uintptr_t foreign_kept(void)')();
    const got = trial.foreign('uint64_t foreign_read64(uint64_t address)')(address);
    if (BigInt(got as bigint) === secret.readBigUInt64LE()) trial.disclose();
  },
};
