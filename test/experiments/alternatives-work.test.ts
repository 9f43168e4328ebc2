/**
 * What people pick instead of a guard: each does the same work and comes to the same answer, and what it survives is
 * seen by doing. No time is asserted.
 *
 * lanes: native
 */
import { spawnSync } from 'node:child_process';

import t from 'tap';

import { experiment } from '../../experiments/cost/alternatives-work.js';
import { type Choice, CHOICES, choose, Unavailable } from '../../experiments/support/choices.js';
import { ANSWERS, HARMS, WORKS } from '../../experiments/support/choices-work.js';
import { Guard } from '../../src/callout/guard.js';
import { inProject } from '../../src/experiment/index.js';

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

t.test('each comes to the same answer, or says why it cannot', async (t) => {
  const missing: string[] = [];
  for (const work of WORKS)
    for (const choice of CHOICES) {
      try {
        const { run, stop } = await choose(choice, work, new Guard({ mechanism: 'flag' }));
        t.equal(await run(), ANSWERS[work], `${work}: ${choice}`);
        t.equal(await run(), ANSWERS[work], 'and again');
        stop();
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        missing.push(`${work}: ${choice}`);
      }
    }
  t.strictSame(missing.sort(), ['SQLite, 100 inserts and a select: plain JavaScript', 'inflate, 1 MiB: WebAssembly']);
});

/** What became of the caller: null write, abort, heap write, image write. */
const SEEN: readonly (readonly [Choice, string, readonly string[]])[] = [
  ['koffi', 'none', ['SIGSEGV', 'SIGABRT', 'damaged', 'damaged']],
  ['guard', 'flag', ['CalloutError', 'CalloutError', 'damaged', 'damaged']],
  ['guard', 'mprotect-range', ['CalloutError', 'CalloutError', 'damaged', 'CalloutError']],
  ['worker thread', 'none', ['SIGSEGV', 'SIGABRT', 'damaged', 'damaged']],
  ['child process', 'none', ['error', 'error', 'error', 'error']],
  ['plain JavaScript', 'none', ['unharmed', 'error', 'unharmed', 'unharmed']],
  // a pointer has 32 bits: a write far from its memory is an error, another changes only its own
  ['WebAssembly', 'none', ['unharmed', 'error', 'error', 'error']],
];

// Broken once: choices.ts took koffi for the guard too: its null write killed the caller.
for (const [choice, mechanism, wanted] of SEEN)
  t.test(`what ${choice} survives, ${mechanism}`, (t) => {
    const seen = HARMS.map((harm) => {
      const { status, signal, stdout } = spawnSync(
        process.execPath,
        [inProject('dist/experiments/support/choices-harm.js'), choice, mechanism, harm],
        { encoding: 'utf8' },
      );
      return status === 0 ? stdout : String(signal);
    });
    t.strictSame(seen, wanted);
    t.end();
  });
