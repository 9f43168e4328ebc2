/**
 * Does the C library's pkey_set open the image?
 *
 * Stands for code that opens every key there is, in the belief that they are its own. pkey_set(3) holds a WRPKRU,
 * and the C library is loaded before any search. The callee calls it for keys 1 to 15, and stores 8 bytes to 'old'.
 * Varies: mechanism, hardening. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';
import { hostileStore } from '../../support/hostile.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pkey_set(3) for every key, then a store',
  expected: (setting) =>
    needsKeys(setting.mechanism)
      ? expectRound("the C library's WRPKRU is there before the search")
      : expectStore(setting),
  hardened: (harden, { mechanism }) =>
    harden === 'all' && mechanism !== 'pkeys-glibc'
      ? {
          verdicts: ['trapped'],
          why: "a hardware breakpoint is on the C library's WRPKRU, only where perf_event_open is allowed",
        }
      : undefined,
  remedy: {
    kinds: ['process'],
    text: 'a hardware breakpoint on its WRPKRU, where perf_event_open may (harden: [scan]); else another process',
  },
  run(trial) {
    hostileStore(trial, 'pkey_set');
  },
};
