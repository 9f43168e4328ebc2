/**
 * Does a library that maps memory and starts threads give the same answer under every mechanism?
 *
 * It copies the bytes to memory of its own, through a file and back, makes that read-only, and hashes it in four
 * threads. Each of those steps is a system call that a filter must let pass.
 * Varies: mechanism, hardening. Records: the hash.
 */
import type { HonestCase } from '../../src/experiment/index.js';

export const experiment: HonestCase = {
  kind: 'honest',
  summary: 'a library with memory, threads, files and pipes of its own',
  libraries: [],
  run(trial) {
    const hash = trial.foreign('uint64_t foreign_hash_by_threads(const uint8_t *bytes, uint64_t count)');
    const answer = hash(trial.file.bytes, trial.file.bytes.length);
    if (BigInt(answer as bigint) === 0n) throw new Error('the system did not do what the library asked for');
    trial.put(String(answer));
    trial.count(1);
  },
};
