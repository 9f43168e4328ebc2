/**
 * Does a copy longer than its source bring the image's bytes along?
 *
 * Stands for Heartbleed (CVE-2014-0160): the reply is as long as the request claims, and what lies behind the buffer
 * goes with it. The buffer lies in front of eden; 64 bytes too many are copied to memory that the VM then sends.
 * `none`, `flag`, writes denied: disclosed. All access denied: the first byte of eden faults.
 * Varies: mechanism, denial. Records: the fault, or that eden's bytes came back.
 */
import { type CorruptionCase, expectRead } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'memcpy of 320 bytes out of a buffer of 256 next to the image',
  remedy: { kinds: ['no-access'], text: 'Deny all access, not only writes, and lend what the callee is to read.' },
  expected: expectRead,
  run(trial) {
    const request = trial.neighbour(256);
    const reply = Buffer.alloc(320);
    trial.foreign('void foreign_memcpy(uint8_t *destination, uintptr_t source, uint64_t bytes)')(
      reply,
      request.address,
      reply.length,
    );
    if (reply.subarray(256).equals(trial.read('eden', 0, 64))) trial.disclose();
  },
};
