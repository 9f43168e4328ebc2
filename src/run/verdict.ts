/**
 * From what was observed to a verdict. Pure functions; I10 (docs/invariants.md) with all its conditions is here.
 */
import type { AftermathStep, CanaryEvidence, DiffEvidence, FaultEvidence, ProcessEvidence } from '../record/records.js';
import { closesImage, type Denial, type KeyMode, type Mechanism, needsKeys, type Verdict } from '../record/words.js';

/** si_code values of SIGSEGV: asm-generic/siginfo.h. */
export const SEGV_ACCERR = 2;
export const SEGV_PKUERR = 4;
/**
 * What Windows calls it, and its code as a signed number. It tells no closed page from an unmapped one: that the
 * address is in a space must do.
 */
export const ACCESS_VIOLATION = { signal: 'EXCEPTION_ACCESS_VIOLATION', code: 0xc0000005 | 0 } as const;

/** Errors by which the kernel declines to touch memory for the callee. */
const REFUSALS: readonly string[] = ['EFAULT', 'EPERM', 'EACCES'];

/** All that is known of a trial when it is over. */
export interface Observation {
  readonly mechanism: Mechanism;
  readonly deny: Denial;
  /** Default 'image'. */
  readonly keys?: KeyMode;
  /** Paths of the VM's own modules: node, koffi, Turnkey's. */
  readonly vmModules: readonly string[];
  /** The trial reported that the case does not apply, and why. */
  readonly inapplicable: string | null;
  readonly fault: FaultEvidence | null;
  /** Errno name that the kernel answered through the foreign function. */
  readonly errno: string | null;
  /** Foreign code showed that it had read what it should not have. */
  readonly disclosed: boolean;
  /** Why a library was not loaded, by the search for instructions that write rights. */
  readonly keptOut?: string | null;
  readonly diff: DiffEvidence | null;
  readonly canaries: readonly CanaryEvidence[];
  /** Null while the aftermath was not finished. */
  readonly aftermath: readonly AftermathStep[] | null;
  readonly process: ProcessEvidence;
}

/** A verdict with its reason. */
export interface Judgement {
  readonly verdict: Verdict;
  /** Only for `damaged`. */
  readonly announced?: boolean;
  /** One sentence. */
  readonly because: string;
  /** Conditions of I10 that did not hold; empty where no fault was raised or all hold. */
  readonly missing: readonly string[];
}

/**
 * The conditions of I10 that do not hold for a fault that was raised. Empty: the mechanism prevented the access.
 */
export function missingForPrevented(seen: Observation): readonly string[] {
  const { fault } = seen;
  if (fault === null) return ['no fault was raised'];
  const missing: string[] = [];
  if (!closesImage(seen.mechanism)) missing.push(`mechanism ${seen.mechanism} closes nothing`);
  const windows = fault.signal === ACCESS_VIOLATION.signal;
  if (fault.signal !== 'SIGSEGV' && !windows) missing.push(`signal is ${fault.signal}, not SIGSEGV`);
  /* An image with a virtual key that is not resident is closed by the access of its pages. SEGV_PKUERR with key 0: the
   * processor refused by a key (never key 0, I1), and the image was evicted before the kernel looked. */
  const evicted =
    seen.keys === 'virtual' &&
    fault.spaceKey === 0 &&
    (fault.siCode === SEGV_ACCERR || (fault.siCode === SEGV_PKUERR && fault.pkey === 0));
  if (needsKeys(seen.mechanism) && !evicted) {
    if (fault.siCode !== SEGV_PKUERR) missing.push(`si_code is ${fault.siCodeName}, not SEGV_PKUERR`);
    if (fault.pkey === null || fault.spaceKey === null || fault.spaceKey === 0 || fault.pkey !== fault.spaceKey) {
      missing.push(`key ${fault.pkey ?? 'unknown'} is not the space's key ${fault.spaceKey ?? 'unknown'}`);
    }
  } else if (!evicted && (windows ? fault.siCode !== ACCESS_VIOLATION.code : fault.siCode !== SEGV_ACCERR)) {
    missing.push(`si_code is ${fault.siCodeName}, not SEGV_ACCERR`);
  }
  if (fault.space === null) missing.push(`address ${fault.address} is outside every space`);
  if (fault.access === 'execute' || (fault.access === 'read' && seen.deny !== 'access'))
    missing.push(`the access was a ${fault.access}`);
  if (fault.pcModule !== null && seen.vmModules.includes(fault.pcModule))
    missing.push(`pc ${fault.pc} is inside the VM's own module ${fault.pcModule}`);
  if (fault.pcModule === null) missing.push(`pc ${fault.pc} is in no module: it may be code that the VM has made`);
  if (fault.phase === 'decode') missing.push('the fault was in decoding a result, not in the callee');
  if (seen.diff === null) missing.push('the image was not compared');
  else if (seen.diff.changedBytes > 0)
    missing.push(`${seen.diff.changedBytes} bytes of the image differ from the snapshot`);
  for (const step of seen.aftermath ?? []) if (!step.ok) missing.push(`aftermath: ${step.step}: ${step.detail}`);
  if (seen.aftermath === null) missing.push('the aftermath did not finish');
  return missing;
}

function ending(process: ProcessEvidence): string {
  if (process.signal !== null) return `the process died of ${process.signal}`;
  return `the process exited with code ${process.exitCode ?? 'unknown'} before its trial was finished`;
}

function atDeath(process: ProcessEvidence): string {
  switch (process.imageAtDeath) {
    case 'equal':
      return 'image equal at death';
    case 'differs':
      return `${process.changedBytesAtDeath} bytes of the image differed at death`;
    case 'unreadable':
      return 'image gone at death';
    case 'unknown':
      return 'image not compared at death';
  }
}

/** The verdict on a trial. */
export function judge(seen: Observation): Judgement {
  const { process, fault, diff } = seen;
  const none: readonly string[] = [];
  if (process.timedOut) {
    const where =
      process.stage === 'called'
        ? 'in the aftermath'
        : process.stage === 'set up'
          ? 'in the callout'
          : `in stage '${process.stage}'`;
    const image = process.imageAtDeath === 'unknown' ? '' : `; ${atDeath(process)}`;
    return {
      verdict: 'hung',
      because: `past the time limit ${where}${image}`,
      missing: fault === null ? none : missingForPrevented(seen),
    };
  }
  if (process.stage !== 'finished') {
    return {
      verdict: 'crashed',
      because: `${ending(process)}${process.stage === 'called' ? ' in the aftermath' : ''}; ${atDeath(process)}`,
      missing: fault === null ? none : missingForPrevented(seen),
    };
  }
  if (seen.inapplicable !== null) return { verdict: 'harmless', because: seen.inapplicable, missing: none };
  const missing = fault === null ? none : missingForPrevented(seen);
  if (diff !== null && diff.changedBytes > 0) {
    const announced = fault !== null;
    return {
      verdict: 'damaged',
      announced,
      because: `${diff.changedBytes} bytes of the image differ, ${announced ? 'and a fault was raised' : 'silently'}`,
      missing,
    };
  }
  const image = diff === null ? 'image not compared' : 'image equal';
  const broken = seen.canaries.filter((canary) => !canary.intact).map((canary) => canary.name);
  if (broken.length > 0)
    return { verdict: 'host-damaged', because: `${image}, but not the host's ${broken.join(', ')}`, missing };
  const failed = (seen.aftermath ?? []).filter((step) => !step.ok);
  if (failed.length > 0) {
    return {
      verdict: 'host-damaged',
      because: `${image}, but afterwards ${failed.map((step) => `${step.step} failed (${step.detail})`).join('; ')}`,
      missing,
    };
  }
  if (seen.disclosed) return { verdict: 'disclosed', because: 'foreign code read what it should not have', missing };
  if (fault !== null) {
    if (missing.length === 0) {
      return {
        verdict: 'prevented',
        because: `${fault.siCodeName} at ${fault.address} in '${fault.space ?? ''}'; image equal; aftermath works`,
        missing,
      };
    }
    if (fault.systemCall !== undefined) {
      return {
        verdict: 'refused',
        because: `the filter refused ${fault.systemCall}, and the callout failed; ${image}; aftermath works`,
        missing: none,
      };
    }
    return {
      verdict: 'trapped',
      because: `${fault.signal} (${fault.siCodeName}) failed the callout; ${image}; aftermath works`,
      missing,
    };
  }
  if (seen.keptOut != null)
    return { verdict: 'refused', because: `the search kept the library out; ${image}; aftermath works`, missing };
  if (seen.errno !== null && REFUSALS.includes(seen.errno))
    return { verdict: 'refused', because: `the kernel answered ${seen.errno}; ${image}`, missing };
  return {
    verdict: 'harmless',
    because: diff === null ? `no fault; ${image}; aftermath works` : 'nothing happened',
    missing,
  };
}

/** Whether verdicts of repetitions agree. */
export function isUnstable(verdicts: readonly Verdict[]): boolean {
  return new Set(verdicts).size > 1;
}
