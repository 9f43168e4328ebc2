/**
 * What usually happens to a kind of damage, mechanism by mechanism, and why: most cases expect one of these.
 */
import type { Expectation } from '../record/records.js';
import { closesImage, hasTrap } from '../record/words.js';
import type { Setting } from './case.js';

/** The expectation of a store by the callee's own instructions to a closed space. */
export function expectStore(setting: Setting, silent = 'the store lands: nothing closes the image'): Expectation {
  if (closesImage(setting.mechanism)) {
    const why = setting.mechanism.startsWith('pkeys')
      ? "the space's key denies writes while the callee runs"
      : 'the space is read-only while the callee runs';
    return { verdicts: ['prevented'], why };
  }
  return { verdicts: ['damaged'], why: silent };
}

/** The expectation of a processor exception that has nothing to do with the image. */
export function expectTrap(setting: Setting): Expectation {
  return hasTrap(setting.mechanism)
    ? { verdicts: ['trapped'], why: 'the trap fails the callout; the image was not touched' }
    : { verdicts: ['crashed'], why: 'no trap: the fault ends the process' };
}

/** The expectation of a load by the callee's own instructions from a space. */
export function expectRead(setting: Setting): Expectation {
  if (closesImage(setting.mechanism) && setting.deny === 'access')
    return { verdicts: ['prevented'], why: 'the space may not be read while the callee runs' };
  return {
    verdicts: ['disclosed'],
    why: closesImage(setting.mechanism) ? 'only writes are denied' : 'nothing closes the image',
  };
}

/** The expectation of a store that tears down the callee's own frame as well: it cannot return any more. */
export function expectSmash(setting: Setting): Expectation {
  if (closesImage(setting.mechanism)) return expectStore(setting);
  return hasTrap(setting.mechanism)
    ? { verdicts: ['damaged'], why: 'the bytes land; the fault that follows is told too late' }
    : { verdicts: ['crashed'], why: 'the bytes land, and the fault that follows ends the process' };
}

/** The expectation of damage to the host's memory or state outside the image, which no mechanism covers. */
export function expectHostDamage(why: string): Expectation {
  return { verdicts: ['host-damaged'], why };
}

/** The expectation of an abort that leaves a lock of the C library's held. */
export function expectHang(setting: Setting, why: string): Expectation {
  return hasTrap(setting.mechanism)
    ? { verdicts: ['hung'], why }
    : { verdicts: ['crashed'], why: 'no trap: the abort ends the process' };
}

/** The expectation of a copy into a space that the kernel makes for the calling thread. */
export function expectCopy(setting: Setting): Expectation {
  if (!closesImage(setting.mechanism)) return { verdicts: ['damaged'], why: 'the kernel copies into writable memory' };
  return {
    verdicts: ['refused'],
    why: setting.mechanism.startsWith('pkeys')
      ? "the kernel copies with this thread's PKRU: EFAULT"
      : "the page is read-only for the kernel's copies too: EFAULT",
  };
}

/** The expectation of a way round every mechanism. */
export function expectRound(why: string): Expectation {
  return { verdicts: ['damaged'], why };
}

/** The expectation of a change of a sealed mapping. */
export function expectSealed(): Expectation {
  return {
    verdicts: ['refused'],
    why: 'a sealed mapping is neither unmapped, moved, replaced nor given another protection or key: EPERM',
  };
}
