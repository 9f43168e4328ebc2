/**
 * Does a thread that the callee starts reach the image while the callout is in progress?
 *
 * Stands for a library that does its work in a thread of its own (an encoder, a resolver) and got a wild pointer. The callee starts a
 * thread, which makes one 8-byte store to 'old', and joins it before it returns.
 * Varies: mechanism. Records: who faulted; the image at death. Under keys the new thread has its maker's PKRU, so the store does not land;
 * but the thread is in no callout of the VM's and the process ends by its fault. Under mprotect the trap takes the thread for a bystander of
 * the VM's: it waits, and after a fifth of a second an unprotected window is opened for it. mprotect-naive has no bystanders.
 */
import { type CorruptionCase } from '../../src/experiment/case.js';
import { closesImage, needsKeys } from '../../src/experiment/words.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  group: 'time and threads',
  summary: 'a store from a thread that the callee starts and joins',
  expected: ({ mechanism }) => {
    if (needsKeys(mechanism)) return { verdicts: ['crashed'], why: 'the thread inherits the denial, but its fault is in no callout: the process ends, its image intact' };
    if (mechanism === 'mprotect-naive') return { verdicts: ['crashed'], why: 'the page is read-only for this thread too, and its fault is in no callout' };
    if (closesImage(mechanism)) return { verdicts: ['damaged'], why: 'the callee\'s thread cannot be told from a bystander, for whom the image is opened after a while' };
    return { verdicts: ['damaged'], why: 'nothing closes the image' };
  },
  remedy: 'the VM\'s own mark on its threads, so that strangers are not taken for bystanders; a process of its own for code that starts threads',
  run(trial) {
    trial.answered(trial.foreign('int foreign_thread_write_during(uint64_t address, uint64_t value)')(trial.addressIn('old'), 0x4141414141414141n));
  },
};
