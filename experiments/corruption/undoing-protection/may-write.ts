/**
 * Does a library that tries out an address, with a SIGSEGV handler of its own, disturb the gate?
 *
 * Stands for probing code (garbage collectors that scan conservatively, sanitizers, plug-in hosts). It installs its own
 * handler, stores what is there already, leaves the handler by siglongjmp, and puts the old handler back. After
 * siglongjmp PKRU stays as the kernel set it for the handler, with no right to anything, and so the callee returns to
 * the gate. A store to 'old' is tried, then an honest callout.
 * Varies: mechanism. Records: what the library found.
 */
import { closesImage, type CorruptionCase, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a library that tries whether old space may be written',
  expected({ mechanism, keysHere }) {
    if (!closesImage(mechanism)) return { verdicts: ['harmless'], why: 'it may; what it stores is what was there' };
    if (keysHere && !needsKeys(mechanism)) {
      return {
        verdicts: ['trapped'],
        why:
          "it may not, and leaves by siglongjmp with the handler's PKRU, which denies the trap's own pages; this " +
          'gate writes PKRU neither way, faults on its way back, and its callout fails',
      };
    }
    return {
      verdicts: ['harmless'],
      why: 'the library finds that it may not, and leaves by siglongjmp; the gate sets absolute rights',
    };
  },
  refusedBy: 'dispatch',
  run(trial) {
    const may = Number(trial.foreign('int foreign_may_write(uint64_t address)')(trial.addressIn('old')));
    trial.note(may === 1 ? 'the library may write' : 'the library may not write');
    const sum = trial.foreign('int foreign_add(int a, int b)')(20, 22);
    trial.canary('next callout', () => sum === 42);
  },
};
