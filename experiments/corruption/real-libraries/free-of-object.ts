/**
 * What becomes of free() on the address of an object?
 *
 * Stands for an ownership mistake: a library is told to release with free(3) what belongs to the VM. The word before
 * the object is taken for the size of a chunk; here it says 1008, as it happens to in some images.
 * Varies: mechanism. Records: the fault. The allocator would put a link into the object and hand the object out at the
 * next malloc(1000).
 */
import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'free() of an object in old space',
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? expectStore(setting)
      : {
          verdicts: ['damaged', 'crashed'],
          why: 'the allocator writes its link into the object and hands it out again; sooner or later it finds out',
        },
  run(trial) {
    const at = (trial.addressIn('old', 2048) & ~15n) + 16n;
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(0x3f1n); // 1008 bytes, the one before in use
    trial.image.space('old').write(Number(at - 8n - trial.space('old').address), size);
    trial.image.snapshot();
    trial.library('libc.so.6').func('void free(uintptr_t pointer)')(at);
  },
};
