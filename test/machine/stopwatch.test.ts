// What a time limit counts: work and sleep, but not the wait for a processor.
// Broken once: `busy` not looked at in read (the wait for a processor counts); children not looked at (so does theirs).

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { Stopwatch } from '../../src/machine/stopwatch.js';

/** On one processor with three others like it, so that it waits for that most of the time. */
const CROWDED = 'for i in 1 2 3; do (while :; do :; done) & done; exec sh -c "while :; do :; done"';

function start(t: Test, command: readonly string[]): ChildProcess & { readonly pid: number } {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: 'ignore', detached: true });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} could not be started`);
  t.teardown(() => {
    process.kill(-pid, 'SIGKILL');
  });
  return Object.assign(child, { pid });
}

function cpuMs(pid: number): number {
  const times = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11, 13) ?? [];
  return times.reduce((sum, ticks) => sum + 10 * Number(ticks), 0);
}

const TICK_MS = 10;

/** What a stopwatch and the kernel's clock say of a process between two moments; the clock is read around the watch. */
async function charged(
  pid: number,
  used: () => number,
  ms: number,
): Promise<{ had: number; least: number; most: number }> {
  const early = used();
  const watch = new Stopwatch(pid);
  const late = used();
  await sleep(ms);
  const least = used() - late - 2 * TICK_MS;
  const had = watch.read();
  return { had, least, most: used() - early + 2 * TICK_MS };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}
const asleep = (pid: number): boolean =>
  readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.startsWith('S') === true;
const childrenOf = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((text) => text !== '')
    .map(Number);

t.test('sleep counts, whatever else runs', async (t) => {
  const { pid } = start(t, ['sleep', '1000']);
  await until(() => asleep(pid));
  const early = performance.now();
  const watch = new Stopwatch(pid);
  const late = performance.now();
  await sleep(500);
  const least = performance.now() - late;
  const had = watch.read();
  const most = performance.now() - early;
  t.ok(had >= least && had <= most, `${had} ms charged, ${least} to ${most} ms passed`);
});

t.test('what its children compute counts too', async (t) => {
  const { pid } = start(t, ['sh', '-c', '(while :; do :; done) & wait']);
  await until(() => childrenOf(pid).length === 1 && asleep(pid));
  const [child = 0] = childrenOf(pid);
  const { had, least, most } = await charged(pid, () => cpuMs(child), 500);
  t.ok(had >= least && had <= most, `${had} ms charged, ${least} to ${most} ms used`);
});

t.test('a stopped process has its time', async (t) => {
  const { pid } = start(t, ['sh', '-c', 'while :; do :; done']);
  process.kill(pid, 'SIGSTOP');
  await until(() => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.startsWith('T') === true);
  const watch = new Stopwatch(pid);
  const due = new Promise<number>((resolve) => {
    const before = performance.now();
    watch.after(400, () => {
      resolve(performance.now() - before);
    });
  });
  t.ok((await due) >= 390);
});

t.test('what waits is not charged: a process beside busy ones on one processor', async (t) => {
  const [first = ''] = /Cpus_allowed_list:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.slice(1) ?? [];
  start(t, ['taskset', '-c', first, 'sh', '-c', CROWDED]);
  const { pid } = start(t, ['taskset', '-c', first, 'sh', '-c', 'while :; do :; done']);
  await until(() => cpuMs(pid) > 0);
  const before = performance.now();
  const { had, least, most } = await charged(pid, () => cpuMs(pid), 2000);
  const passed = performance.now() - before;
  t.ok(had >= least && had <= most, `${had} ms charged, ${least} to ${most} ms used, ${passed} ms passed`);
  t.ok(had < passed, 'less than what has passed');
});
