/**
 * What people pick instead of a guard: each does the same work and comes to the same answer, and what it survives is
 * seen by doing. No time is asserted.
 *
 * lanes: native
 */
import t from 'tap';

import { experiment } from '../../experiments/cost/alternatives-work.js';
import { type Choice, CHOICES, choose, isProgram } from '../../experiments/support/choices.js';
import { survived } from '../../experiments/support/choices-outcome.js';
import { missing, PROGRAMS } from '../../experiments/support/choices-program.js';
import { Unavailable } from '../../experiments/support/choices-unavailable.js';
import { ANSWERS, HARMS, WORKS } from '../../experiments/support/choices-work.js';
import { Guard } from '../../src/callout/guard.js';

const setting = { lane: 'native', quick: false, full: true, cores: 2 } as unknown as Parameters<
  typeof experiment.rows
>[0];

t.test('every work by every choice is a row, and none is in the quick set', (t) => {
  const rows = experiment.rows(setting);
  for (const work of WORKS)
    for (const choice of CHOICES)
      t.ok(
        rows.some(({ parameters }) => parameters['work'] === work && parameters['choice'] === choice),
        `${work}: ${choice}`,
      );
  t.strictSame(experiment.rows({ ...setting, quick: true }), []);
  t.end();
});

/** Programs need software that a machine may lack: a test that says so, and how to install it. */
const skip = (choice: Choice): string | false => isProgram(choice) && missing(choice);

for (const choice of CHOICES)
  t.test(`${choice} comes to the same answer, or says why it cannot`, { skip: skip(choice) }, async (t) => {
    for (const work of WORKS) {
      try {
        const { run, time, stop } = await choose(choice, work, new Guard({ mechanism: 'flag' }));
        t.equal(await run(), ANSWERS[work], work);
        t.equal(await run(), ANSWERS[work], 'and again');
        if (time !== undefined) t.ok((await time(3)) > 0, 'times itself');
        stop();
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        t.equal(`${choice}: ${error.message}`, 'plain JavaScript: there is no SQLite in plain JavaScript');
      }
    }
  });

// Broken once: the end was not listened to, and this waited for ever.
for (const choice of PROGRAMS)
  t.test(`${choice}: a program that ends is an error, not a wait`, { skip: skip(choice) }, async (t) => {
    const { run, stop } = await choose(choice, 'int(int, int)', new Guard({ mechanism: 'flag' }));
    t.equal(await run(), ANSWERS['int(int, int)']);
    stop();
    await t.rejects(async () => run(), { message: `${choice} ended: SIGKILL` });
    await t.rejects(async () => run(), { message: `${choice} ended: SIGKILL` }, 'and afterwards');
  });

/** What became of the caller: null write, abort, heap write, image write. */
const SEEN: readonly (readonly [Choice, string, readonly string[]])[] = [
  ['koffi', 'none', ['dies: SIGSEGV', 'dies: SIGABRT', 'damaged', 'damaged']],
  ['guard', 'flag', ['CalloutError', 'CalloutError', 'damaged', 'damaged']],
  ['guard', 'mprotect-range', ['CalloutError', 'CalloutError', 'damaged', 'CalloutError']],
  ['worker thread', 'none', ['dies: SIGSEGV', 'dies: SIGABRT', 'damaged', 'damaged']],
  ['child process', 'none', ['error', 'error', 'error', 'error']],
  ['plain JavaScript', 'none', ['unharmed', 'error', 'unharmed', 'unharmed']],
  // a pointer has 32 bits: a write far from its memory is an error, another changes only its own
  ['WebAssembly', 'none', ['unharmed', 'error', 'error', 'error']],
  // both catch a SIGSEGV and nothing else
  ['libsigsegv', 'none', ['error', 'dies: SIGABRT', 'damaged', 'damaged']],
  ['JNA protected mode', 'none', ['error', 'dies: SIGABRT', 'damaged', 'damaged']],
];

// Broken once: choices.ts took koffi for the guard too: its null write killed the caller. JNA without setProtected:
// its null write killed the JVM. choice_sigsegv.c without its handler: dies of SIGSEGV.
for (const [choice, mechanism, wanted] of SEEN)
  t.test(`what ${choice} survives, ${mechanism}`, { skip: skip(choice) }, (t) => {
    t.strictSame(
      HARMS.map((harm) => survived(choice, mechanism, harm)),
      wanted,
    );
    t.end();
  });
