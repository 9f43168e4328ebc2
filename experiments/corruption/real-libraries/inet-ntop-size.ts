/**
 * Does inet_ntop() with a wrong size run on into the image?
 *
 * Stands for a buffer sized for IPv4 (16 bytes) that gets an IPv6 address, with the size of the larger one. 40 bytes go
 * into 16, next to the image.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'inet_ntop() of an IPv6 address into 16 bytes, told that there are 46',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const inet6 = 10; // AF_INET6
    trial.answered(
      trial
        .library('libc.so.6')
        .func('uintptr_t inet_ntop(int family, const uint8_t *address, uintptr_t to, uint32_t bytes)')(
        inet6,
        Buffer.alloc(16, 0xab),
        trial.neighbour(16).address,
        46,
      ) === 0
        ? 0
        : 1,
    );
  },
};
