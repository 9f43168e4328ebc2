/**
 * What becomes of a callback that comes from another thread while the VM waits in the callout?
 *
 * Stands for audio and event libraries, which call back from threads of their own. The callee starts a thread that
 * calls back, and joins it. koffi runs callbacks on the thread of JavaScript, which is in the callout and cannot run
 * them. So both wait for ever.
 * Varies: mechanism. Records: the time limit. No protection of memory is involved.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a callback from another thread, awaited by the callee',
  timeoutMs: 1000,
  expected: () => ({ verdicts: ['hung'], why: 'JavaScript has one thread, and it waits in the callout' }),
  remedy: { kinds: ['vm'], text: 'asynchronous callouts for libraries that call back from threads of their own' },
  run(trial) {
    const type = trial.callback('int CallbackThread(int value)');
    trial.foreign(`int foreign_call_back_on_thread(${type} callback, int value)`)((value: number) => value * 2, 20);
  },
};
