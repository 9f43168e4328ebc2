/** What the cases of io_uring share: a ring of the VM's, and the verdicts where a thread of the kernel's is older. */
import { type CorruptionCase, expectCopy, needsKeys, type Trial } from '../../src/experiment/index.js';

/** Opens a ring as the VM, and goes on with it; where there is none, the kernel's no is the answer. */
export function withRing(trial: Trial, polled: boolean, work: () => unknown): void {
  const ring = trial.unguarded('int64_t foreign_uring_open(int polled)')(Number(polled));
  trial.answered(Number(ring) < 0 ? ring : work());
}

/** Expected where a thread with the rights of an earlier time makes the copy. @param why of keys */
export const expectEarlierRights =
  (why: string): CorruptionCase['expected'] =>
  (setting) => {
    if (needsKeys(setting.mechanism)) return { verdicts: ['damaged', 'refused', 'harmless'], why };
    const copy = expectCopy(setting);
    return { verdicts: [...copy.verdicts, 'refused', 'harmless'], why: `${copy.why}, if there is io_uring` };
  };

/** Registers a page of 'old' as a buffer, as the callee ('foreign') or as the VM; the callee then reads into it. */
export function readRegistered(trial: Trial, by: 'foreign' | 'unguarded'): unknown {
  const at = trial.pageIn('old');
  const registered = trial[by]('int64_t foreign_uring_register(uint64_t address, uint64_t bytes)')(at, 4096);
  if (Number(registered) < 0) return registered;
  return trial.foreign('int64_t foreign_uring_read_registered(uint64_t address, uint64_t bytes)')(at, 64);
}
