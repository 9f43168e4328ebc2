/** Cases over sealed pages, and which kernels can seal. */
import type { Remedy } from '../record/records.js';
import { closesImage, needsKeys } from '../record/words.js';
import type { CorruptionCase } from './case.js';

/** Whether a kernel is of a version or later; one that is not known yet is taken to be. */
export function kernelSince(kernel: string, major: number, minor: number): boolean {
  const [here = 0, after = 0] = kernel.split('.').map(Number);
  return kernel === '' || here > major || (here === major && after >= minor);
}

/**
 * A case once more, over an image whose old space the VM has sealed first (mseal(2)): what sealing helps, and what it
 * does not. The mprotect mechanisms cannot close sealed pages, so that they have no such cells.
 */
export function sealed(open: CorruptionCase, expected: CorruptionCase['expected'], remedy?: Remedy): CorruptionCase {
  return {
    kind: 'corruption',
    summary: `${open.summary}; old space is sealed`,
    ...(remedy === undefined ? {} : { remedy }),
    ...(open.refusedBy === undefined ? {} : { refusedBy: open.refusedBy }),
    expected,
    skip({ mechanism, kernel }) {
      if (!kernelSince(kernel, 6, 10)) return `Linux ${kernel} has no mseal(2), which came with 6.10`;
      return closesImage(mechanism) && !needsKeys(mechanism)
        ? 'mprotect cannot close pages that are sealed'
        : undefined;
    },
    run(trial) {
      const { address, bytes } = trial.space('old');
      const answer = Number(trial.unguarded('int64_t foreign_seal(uint64_t address, uint64_t bytes)')(address, bytes));
      if (answer !== 0) throw new Error(`mseal(2) answered ${answer}`);
      return open.run(trial);
    },
  };
}
