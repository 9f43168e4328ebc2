/** The verdict on a trial of the catalogue on hosts, from what its program said and how it ended. */
import type { HostCase } from '../experiment/host-case.js';
import type { GuardMechanism, Verdict } from '../record/words.js';
import type { Called, Done } from './record.js';

const EFAULT = 14;
const ENOENT = 2;
const WORD_BYTES = 8;

export interface Judged {
  readonly verdict: Verdict;
  readonly because: string;
}

/** What a program left: lines that it printed, and its end. */
export interface Left {
  readonly end: number | string;
  readonly called: Called | null;
  readonly done: Done | null;
}

/** The si_code of the mechanism's own fault. */
const CODES: Readonly<Partial<Record<GuardMechanism, string>>> = {
  'mprotect-range': 'SEGV_ACCERR',
  pkeys: 'SEGV_PKUERR',
};

/** Modules of the VMs, of their FFIs and of Turnkey: a store of theirs is no callee's. */
const OWN_MODULE = new RegExp(
  '^(node|libnode.*|koffi.*|python.*|libpython.*|_ctypes\\..*|ruby.*|libruby.*|fiddle\\.so|squeakvm|so\\..*|' +
    'libffi\\..*|turnkey\\.node|libturnkey-host\\.so|libturnkey_(trap|pkeys)\\..*)$',
);

/**
 * I10: true where the fault is the mechanism's own, at memory that it closes, by an instruction of the callee's or of
 * what it calls. Prevention needs this evidence.
 */
function isOfMechanism(about: HostCase, mechanism: GuardMechanism, { at, error }: Called): boolean {
  if (error === null || CODES[mechanism] === undefined || error.code !== CODES[mechanism]) return false;
  if (!error.module || OWN_MODULE.test(error.module)) return false;
  if (!['payload', 'header', 'code'].includes(about.target) || at === null || error.address === null) return false;
  const hasKey = mechanism !== 'pkeys' || (error.pkey !== null && error.pkey > 0);
  return hasKey && error.address >= at && error.address < at + Math.max(about.bytes, WORD_BYTES);
}

/** Why a trial says nothing, or undefined. */
export const unavailable = ({ called }: Left): string | undefined =>
  called?.returned === -ENOENT ? 'a library that the callee uses is not there' : undefined;

export function judge(about: HostCase, mechanism: GuardMechanism, { end, called, done }: Left): Judged {
  const ended = `it ended by ${String(end)}`;
  const changed = about.target === 'lent' ? 'host-damaged' : 'damaged';
  if (end === 'time') return { verdict: 'hung', because: 'it came to no end' };
  if (called === null) return { verdict: 'crashed', because: `no line after the callout; ${ended}` };
  if (!called.intact || done?.intact === false)
    return { verdict: changed, because: `memory is not what it was${done === null ? `; ${ended}` : ''}` };
  if (done === null || end !== 0) return { verdict: 'crashed', because: `memory was as before, and ${ended}` };
  if (!done.right) return { verdict: changed, because: 'the answer is wrong' };
  if (called.error !== null)
    return isOfMechanism(about, mechanism, called)
      ? { verdict: 'prevented', because: 'a fault at the closed memory, which is as before; the answer is right' }
      : { verdict: 'trapped', because: 'the callout failed; memory is as before, and the answer is right' };
  if (called.returned === -EFAULT) return { verdict: 'refused', because: 'EFAULT; the answer is right' };
  return { verdict: 'harmless', because: 'no error, memory as before, and the answer is right' };
}
