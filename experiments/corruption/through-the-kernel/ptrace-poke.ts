/**
 * Does ptrace(2) from another process reach the image?
 *
 * Stands for in-process debuggers and crash reporters, which fork a child that attaches to its parent. The trial is
 * traced already, by the tracing runner, and a thread has one tracer. So a second child, which shares the trial's
 * memory (CLONE_VM), stands for it. PTRACE_POKEDATA of 8 bytes in 'old'.
 * Varies: mechanism. Records: the kernel's answer.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'PTRACE_POKEDATA from a child',
  expected: () => expectRound("a tracer's access is forced, past keys and protections"),
  remedy: { kinds: ['filter'], text: "a filter of system calls that denies ptrace; Yama's ptrace_scope" },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_ptrace_sibling_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
