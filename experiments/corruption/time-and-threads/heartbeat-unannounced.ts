/**
 * What becomes of a VM signal handler that touches the image during a callout without a word to the trap?
 *
 * Stands for the heartbeat as every VM has it today. As `heartbeat`, but its handler calls neither trap_signal_enter
 * nor trap_signal_leave.
 * Varies: mechanism. Records: the image at death. The handler faults, under keys because a handler starts with the
 * kernel's default PKRU, under mprotect because the page is closed. It runs on the alternate stack, so it is not taken
 * for the callee, whose callout is innocent. The process ends at once: no error somewhere else, and no signal that
 * stays blocked.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';
import { beatDuringCallout } from '../../support/heartbeat.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a VM heartbeat that counts in the image during a callout, without trap_signal_enter',
  expected: ({ mechanism }) =>
    closesImage(mechanism)
      ? { verdicts: ['crashed'], why: "the VM's own handler meets a closed image; its fault is nobody's callout" }
      : { verdicts: ['harmless'], why: 'nothing closes the image' },
  remedy: {
    kinds: ['vm'],
    text: "trap_signal_enter and trap_signal_leave in every handler of the VM's that may touch the image",
  },
  run(trial) {
    beatDuringCallout(trial, 0n, 0n);
  },
};
