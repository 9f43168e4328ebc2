/** What a case expects of a guard that is hardened: its own word, changed by the remedies that it names. */
import type { Expectation } from '../record/records.js';
import type { Hardened } from '../record/words.js';
import type { CorruptionCase, Setting } from './case.js';
import { kernelSince } from './sealed.js';

/** Why no such guard can be made in this setting; undefined where it can. */
export function cannotHarden({ harden, kernel }: Pick<Setting, 'harden' | 'kernel'>): string | undefined {
  return (harden === 'seal' || harden === 'all') && !kernelSince(kernel, 6, 10)
    ? `Linux ${kernel} has no mseal(2), which came with 6.10`
    : undefined;
}

/** Whether callees' system calls are dispatched, so that what they point at is looked at too. */
const dispatches = (harden: Hardened | undefined): boolean => harden === 'filter' || harden === 'all';

/** The case's expectation in a setting, hardened or not. */
export function expectedOf(experiment: CorruptionCase, setting: Setting): Expectation {
  const usual = experiment.expected(setting);
  const { harden } = setting;
  if (harden === undefined) return usual;
  const own = experiment.hardened?.(harden, setting);
  if (own !== undefined) return own;
  const { refusedBy } = experiment;
  if (refusedBy === 'either' ? harden !== 'seal' : refusedBy === 'dispatch' && dispatches(harden))
    return { verdicts: ['refused'], why: 'the filter of system calls refuses what the callee asks the kernel for' };
  const kinds: readonly string[] = experiment.remedy?.kinds ?? [];
  const sealed = harden === 'seal' || harden === 'all';
  if (sealed && kinds.includes('seal'))
    return { verdicts: ['refused', 'prevented'], why: 'sealed pages are neither remapped nor emptied' };
  if (harden === 'all' && kinds.includes('scan'))
    return { verdicts: ['refused'], why: 'a library that can write rights is not loaded' };
  return usual;
}
