/**
 * Does a profiler that unwinds the stack from its signal's handler harm an innocent callout?
 *
 * Stands for gperftools, libunwind's users and samplers built into libraries. A SIGPROF lands in a callout, and its
 * handler walks the stack by call frame information, through the gate. The handler starts with the kernel's default
 * PKRU, and what the unwinder reads of the gate lies behind the trap's key. The trap lets those reads through. On the
 * interrupted stack, then on the alternate one.
 * Varies: mechanism. Records: how many walks led out of the handler.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a profiler's handler unwinds during a callout",
  expected: () => ({ verdicts: ['harmless'], why: 'what the unwinder reads is let through; the callout goes on' }),
  run(trial) {
    const profiled = trial.foreign('int foreign_profiled(int on_alternate_stack, int samples)');
    const walks = Number(profiled(0, 20)) + Number(profiled(1, 20));
    trial.note(`${walks} walks`);
    trial.canary('40 walks of the stack', () => walks === 40);
  },
};
