/** What the words of a report mean, in one line each. */
import type { Lane, Mechanism, Verdict } from '../../record/words.js';

export const MECHANISM_MEANINGS: Readonly<Record<Mechanism, string>> = {
  none: 'a raw call: no trap, nothing closed',
  flag: 'a signal trap fails the callout; the image stays open',
  'mprotect-page': 'the image is made read-only and back, one system call per page',
  'mprotect-range': 'the same with one system call per space',
  'mprotect-naive': 'as mprotect-range, each callout for itself, to show the hole that leaves with threads',
  pkeys: 'protection keys, rights written in the call gate',
  'pkeys-glibc': "protection keys by glibc's pkey_set beside the gate",
  'pkeys-model': 'a delay in place of each rights write: a model, it protects nothing',
  process: 'the callee runs in another process',
};

export const VERDICT_MEANINGS: Readonly<Record<Verdict, string>> = {
  prevented: 'the mechanism stopped the store, the callout failed, the image is equal and the VM goes on',
  refused: 'the kernel answered an error instead of touching the image',
  trapped: 'a fault that no mechanism caused failed the callout; the image is equal and the VM goes on',
  damaged: 'the image differs',
  'host-damaged': "the image is equal, the host's other memory is not",
  disclosed: 'leaked: foreign code read what it should not have',
  crashed: 'the process died',
  hung: 'unfinished: past its time limit, in the call or in the aftermath',
  harmless: 'nothing happened: the case did not apply',
};

export const LANE_MEANINGS: Readonly<Record<Lane, string>> = {
  native: 'measured on this CPU, in time',
  emulated: 'counted under an emulated CPU with keys: executed instructions, not time',
  model: 'computed or timed with a stand-in: a model, not a measurement of keys',
  wine: 'behaviour only',
  'qemu-user': 'behaviour only',
};

/** What the events beside a count are. */
export const EVENTS_NOTE = '[WRPKRU / RDPKRU / system calls / faults] of one operation';
