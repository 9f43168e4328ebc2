/**
 * Whose code makes the store when the library's symbols are those of the VM?
 *
 * Stands for a library that the VM has built in, too. As `zlib-uncompress`, but loaded as koffi loads by default: node
 * exports zlib's functions, so libz's uncompress() calls node's inflate() and not its own. The store is the same, and
 * is stopped the same. But the pc is in the VM's own module, so the store does not count as prevented.
 * Varies: mechanism. Records: the fault, inside node, or the bytes changed.
 */
import { deflateSync } from 'node:zlib';

import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "zlib: the same, with node's own inflate() in the place of the library's",
  libraries: ['libz.so.1'],
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? {
          verdicts: ['trapped'],
          why: "stopped like any other; but the code is node's own, and a fault in that is not the callee's by rule",
        }
      : expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const { address } = trial.neighbour(256);
    const compressed = deflateSync(Buffer.alloc(4096, 0x41));
    trial.answered(
      trial
        .library('libz.so.1')
        .func(
          'int uncompress(uintptr_t destination, unsigned long *length, const uint8_t *source, unsigned long bytes)',
        )(address, new BigUint64Array([4096n]), compressed, compressed.length),
    );
  },
};
