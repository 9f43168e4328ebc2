/**
 * Is a longjmp out of a callout, over the VM's own frames, survived?
 *
 * Stands for error handling by longjmp (libpng, libjpeg, Lua) with a callback in between: C sets the jump, calls back
 * into the VM, which calls C again, which jumps. The VM's frames in between are never left properly: a JavaScript
 * engine is not made for that.
 * Every mechanism with the trap: an outer gate sees that its depth is not what it was, says so, and ends the process.
 * Going on would be worse. `none`: the engine's state is broken, and it dies or hangs, sooner or later.
 * Varies: mechanism. Records: how the process ended, and the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'longjmp from an inner callout over a callback into the outer one',
  remedy: {
    kinds: ['nothing'],
    text:
      'Nothing in the same process: the frames in between are gone. Error handling by return values at ' +
      'the interface.',
  },
  expected: (setting) =>
    setting.mechanism === 'none'
      ? { verdicts: ['crashed', 'hung'], why: 'the engine does not survive that its frames are jumped over' }
      : { verdicts: ['crashed'], why: 'the gate finds the jump and ends the process with a message' },
  run(trial) {
    const leap = trial.foreign('void foreign_longjmp_back(void)');
    trial.foreign(`int foreign_setjmp_call(${trial.callback('void LeapBack(void)')} callback)`)(() => {
      leap();
    });
  },
};
