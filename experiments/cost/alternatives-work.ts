/**
 * What would people pick instead, what does it cost them for the same work, and what does it survive?
 *
 * The work is a function of two ints, zlib's inflate of 1 MiB, and SQLite's insert and select. It is done in these
 * ways:
 *
 *   by koffi, and through a guard
 *   by koffi in a worker thread and in a child process, with a message there and back each time
 *   in plain JavaScript (pako) and in WebAssembly (sql.js, zlib of zip.js)
 *   by a caller that is no JavaScript: C with libsigsegv's handler and sigsetjmp, and Java with JNA in protected mode
 *
 * The last two are timed by clocks of their own; Java is warm. Beside the cost stands what came of four faults of the
 * callee. They are a null write, an abort, and 8 wild bytes into the caller's malloc heap and into an image. Each fault
 * is made in a process of its own, before the timing. Varies: work, choice. Records: samples of one piece of work in
 * ns, native lane; what the caller survived.
 */
import { type CostExperiment, type CostRow } from '../../src/experiment/index.js';
import { sampleWarnings } from '../../src/record/warnings.js';
import { type Choice, CHOICES, choose, type Ready } from '../support/choices.js';
import { survived } from '../support/choices-outcome.js';
import { Unavailable } from '../support/choices-unavailable.js';
import { ANSWERS, HARMS, type Work, WORKS } from '../support/choices-work.js';
import { openImage } from '../support/cost-guard.js';

const SAMPLES = 10;
/** ns: a sample is a batch of at least so long. */
const BATCH_NS = 4e6;
const IMAGE_BYTES = 4 << 20;

async function timed({ run, time }: Ready, times: number): Promise<number> {
  if (time !== undefined) return time(times);
  const start = process.hrtime.bigint();
  for (let at = 0; at < times; at++) {
    const answer = run();
    if (typeof answer !== 'number') await answer;
  }
  return Number(process.hrtime.bigint() - start);
}

/** How often makes a batch. Finding out warms up too; a JVM is given time besides, and is then asked again. */
async function batchOf(ready: Ready): Promise<number> {
  let times = 1;
  const find = async (): Promise<void> => {
    while ((await timed(ready, times)) < BATCH_NS) times *= 2;
  };
  await find();
  for (let spent = 0; spent < (ready.warmUpMs ?? 0) * 1e6;) spent += await timed(ready, times);
  await find();
  return times;
}

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'the same work by what people pick instead of a guard, and what each survives',
  title: 'What people pick instead',
  question: 'What does the same work cost by other means, and which faults of the callee does the caller survive?',
  order: 121,
  shows: 'rows',
  measures: 'choices',
  table: {
    columns: { work: 'work', choice: 'choice' },
    found: Object.fromEntries(HARMS.map((harm) => [harm, harm])),
  },
  parameters: {
    work: { role: 'row', alone: true },
    choice: { role: 'row', alone: true, free: true, baseline: 'koffi' },
  },
  rows: ({ quick }) =>
    quick
      ? []
      : WORKS.flatMap((work) =>
          CHOICES.flatMap((choice) =>
            (choice === 'guard'
              ? (['flag', 'mprotect-range', 'pkeys'] as const)
              : ([choice === 'child process' ? 'process' : 'none'] as const)
            ).map((mechanism): CostRow => ({ mechanism, parameters: { work, choice }, together: work })),
          ),
        ),
  async measure({ row, round }) {
    const [work, choice] = [row.parameters['work'] as Work, row.parameters['choice'] as Choice];
    const mechanism = choice === 'guard' ? row.mechanism : 'none';
    const { guard } = openImage({ ...row, mechanism }, IMAGE_BYTES);
    let ready: Ready;
    try {
      ready = await choose(choice, work, guard);
    } catch (error) {
      if (error instanceof Unavailable) return { skipped: error.message };
      throw error;
    }
    try {
      const answer = await ready.run();
      if (answer !== ANSWERS[work]) throw new Error(`${work} by ${choice} answered ${answer}, not ${ANSWERS[work]}`);
      const found =
        round === 0 ? Object.fromEntries(HARMS.map((harm) => [harm, survived(choice, mechanism, harm)])) : undefined;
      const times = await batchOf(ready);
      const samples: number[] = [];
      for (let at = 0; at < SAMPLES; at++) samples.push((await timed(ready, times)) / times);
      return {
        samples,
        repeats: times,
        warnings: sampleWarnings(samples),
        answer: String(answer),
        ...(found === undefined ? {} : { found }),
      };
    } finally {
      ready.stop();
    }
  },
};
