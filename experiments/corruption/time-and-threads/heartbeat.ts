/**
 * Does a VM signal handler that touches the image, and says so, work in the middle of a callout?
 *
 * Stands for the heartbeat of an interpreter: a timer signal whose handler writes into the image (here: counts in a
 * word of 'old'). It lands in a callout like anywhere else, and starts there with the kernel's default PKRU. The
 * handler calls trap_signal_enter first and trap_signal_leave last.
 * Varies: mechanism. Records: beats, and that each was counted; the word is put back.
 */
import { binding } from '../../../src/callout/binding.js';
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { beatDuringCallout } from '../../support/heartbeat.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a VM heartbeat that counts in the image during a callout, between trap_signal_enter and trap_signal_leave',
  expected: () => ({ verdicts: ['harmless'], why: "the handler has the VM's rights between enter and leave" }),
  run(trial) {
    const { signalEnter, signalLeave } = binding.hooks();
    beatDuringCallout(trial, signalEnter, signalLeave);
  },
};
