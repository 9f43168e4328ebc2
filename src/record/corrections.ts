/**
 * Sentences of recorded runs that were found wrong afterwards. The files stay as the runs wrote them. Readers get what
 * is right, in the words that the experiments have now.
 */
import type { Run } from './records.js';

interface Correction {
  readonly cases: readonly string[];
  readonly was: string;
  readonly is: string;
}

/** The option came with Linux 6.12, not 6.10, and forbids only what must be forced: a keyed page is writable. */
const REMEDIES: readonly Correction[] = [
  {
    cases: ['proc-self-mem', 'sealed-proc-self-mem'],
    was:
      'a filter of system calls that denies opening /proc/self/mem; proc mounted so that it cannot be written ' +
      '(6.10: proc_mem.force_override)',
    is:
      'a filter of system calls that denies opening /proc/self/mem, or a mount namespace without a writable proc; ' +
      'proc_mem.force_override=never (6.12) helps mprotect and not keys',
  },
];

/** A run's records, with what was found wrong in them put right. */
export function corrected(records: Run['records']): Run['records'] {
  return records.map((record) => {
    if (record.kind !== 'corruption' || record.remedy === undefined) return record;
    const { remedy } = record;
    const found = REMEDIES.find(({ cases, was }) => cases.includes(record.case) && remedy.text === was);
    return found === undefined ? record : { ...record, remedy: { ...remedy, text: found.is } };
  });
}
