// `npm test`: sets up what is missing, builds, and runs every test in every lane that applies. The lanes: this machine
// (`native`: the C layers' tests, the compiled test/**/*.test.ts), beside it one emulated guest
// (`emulated`), and the C layers' tests cross-compiled (`qemu-user`, `wine`), where the tools for that are there
// already. The closing lines name each lane that did not run and the command that runs it. The last line counts:
// N passed, N failed[, N skipped].
// More than 400 lines: all lanes share one queue, one way to run a test, and one count.
//
// npm test -- [--lane native|emulated|qemu-user|wine] [WORD…]   only tests whose name contains one of the words
// npm run test:all                                              every lane and the browser, and all of it required
//
// A cross-compiled lane that is asked for (npm run test:arm64, npm run test:windows) sets up what it needs.
//
// A test file says in comment lines where and how it runs:
//   // lanes: native, emulated     (default: native)
//   // with: /usr/lib/squeak        (taken along into the guest, where it exists; a path or one of the project's)
//   // alone                       nothing else runs beside it
//   // limit: 300 s                (default: 180 s; four times that in the guest)
// A limit is there for what hangs: it counts the time in which the test worked or slept, not that in which it waited
// for a processor (src/machine/stopwatch.ts).
// C tests that are programs of the project run in both lanes; the ctest label `native` or `emulated` restricts one, the
// label `alone` sets it apart, and one with `thorough` runs in a cross-compiled lane only where that was asked for.
//
// TURNKEY_REQUIRE_EMULATED=1 makes it a failure that the emulated lane cannot run; TURNKEY_REQUIRE_BROWSER=1 installs
// Chromium, and makes it a failure that report.html cannot be opened in it. TURNKEY_REQUIRE_ARM64=1 and
// TURNKEY_REQUIRE_WINDOWS=1 set that lane up in any run, and make it a failure that it cannot run.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { isAbsolute, join, relative } from 'node:path';
import { parseArgs } from 'node:util';

import {
  buildCross,
  buildNative,
  buildNativeTestsBeside,
  buildTypeScript,
  CROSS_LANES,
  emulatedWanted,
  ensurePrerequisites,
  fail,
  hostHasKeys,
  missingForLane,
  processorTime,
  root,
} from './setup.mjs';
import { excerpt, judge } from './tap.mjs';

/**
 * @typedef {import('./tap.mjs').Ended} Ended
 * @typedef {object} Test
 * @property {string} name
 * @property {readonly string[]} command
 * @property {string} cwd
 * @property {Readonly<Record<string, string>>} env
 * @property {readonly string[]} lanes
 * @property {boolean} alone
 * @property {boolean} [thorough]
 * @property {number} limitS
 * @property {readonly string[]} [with]
 */
/** @typedef {(test: Test) => Promise<Ended>} RunOne */

const DEFAULT_LIMIT_S = 180;
/** The guest is this much slower, as far as time limits go. */
const GUEST_SLOWNESS = 4;
const NATIVE_AT_ONCE = Math.max(2, availableParallelism());
const LANES = ['native', 'emulated', ...Object.keys(CROSS_LANES)];
/** What makes it a failure that something cannot run. */
const REQUIRED = [
  'TURNKEY_REQUIRE_EMULATED',
  'TURNKEY_REQUIRE_BROWSER',
  ...Object.values(CROSS_LANES).map(({ required }) => required),
];

const totals = { passed: 0, failed: 0, skipped: 0 };
/** @type {Map<string, string[]>} */
const skips = new Map();
/** @type {string[]} */
const failed = [];
/**
 * Lanes that did not run, and the command that runs each.
 * @type {{ lane: string, reason: string, command: string }[]}
 */
const missing = [];

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { lane: { type: 'string' }, all: { type: 'boolean' } },
    });
    if (values.lane !== undefined && !LANES.includes(values.lane))
      throw new Error(`--lane ${values.lane}: expected one of ${LANES.join(', ')}`);
    if (values.all === true) {
      if (values.lane !== undefined || positionals.length > 0)
        throw new Error('--all runs everything: no lane, no word');
      for (const name of REQUIRED) process.env[name] = '1';
    }
    return { lane: values.lane, words: positionals };
  } catch (error) {
    process.stderr.write(`npm test: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}

/**
 * @typedef {object} CTest
 * @property {string} name
 * @property {string[]} [command]
 * @property {{ name: string, value: unknown }[]} [properties]
 */

/** The C tests that ctest knows. @param {string} folder @returns {Test[]} */
function nativeTests(folder) {
  const { stdout, status, stderr } = spawnSync('ctest', ['--test-dir', folder, '--show-only=json-v1'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`ctest could not list the tests: ${stderr}`);
  const { tests } = /** @type {{ tests: CTest[] }} */ (JSON.parse(stdout));
  return tests.flatMap(({ name, command, properties = [] }) => {
    if (command === undefined) return [];
    /** @param {string} wanted */
    const property = (wanted) => properties.find((each) => each.name === wanted)?.value;
    const labels = /** @type {string[]} */ (property('LABELS') ?? []);
    const environment = /** @type {string[]} */ (property('ENVIRONMENT') ?? []);
    const restricted = ['native', 'emulated'].filter((lane) => labels.includes(lane));
    // what a tool of this machine does (cmake -P, a search in a binary) has no place in the guest
    const possible = command[0]?.startsWith(folder) === true ? ['native', 'emulated'] : ['native'];
    return {
      name,
      command,
      cwd: /** @type {string | undefined} */ (property('WORKING_DIRECTORY')) ?? folder,
      env: Object.fromEntries(environment.map((text) => text.split(/=(.*)/s).slice(0, 2))),
      lanes: restricted.length > 0 ? restricted : possible,
      alone: labels.includes('alone'),
      thorough: labels.includes('thorough'),
      limitS: /** @type {number | undefined} */ (property('TIMEOUT')) ?? DEFAULT_LIMIT_S,
    };
  });
}

/** The compiled test files. @returns {Test[]} */
function tapTests() {
  const folder = join(root, 'test');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => {
      const source = readFileSync(join(folder, name), 'utf8');
      const lanes = /^\s*(?:\/\/|\*)\s*lanes:\s*(.+?)\s*(?:\*\/)?$/m.exec(source)?.[1]?.split(/\s*,\s*/) ?? ['native'];
      const wrong = lanes.find((lane) => !['native', 'emulated'].includes(lane));
      if (wrong !== undefined) throw new Error(`test/${name}: unknown lane ${wrong}`);
      return {
        name: name.replace(/\.test\.ts$/, '.test'),
        command: ['node', join('dist', 'test', name.replace(/\.ts$/, '.js'))],
        cwd: root,
        env: {},
        lanes,
        alone: /^\s*(?:\/\/|\*)\s*alone\s*(?:\*\/)?$/m.test(source),
        with:
          /^\s*(?:\/\/|\*)\s*with:\s*(.+?)\s*$/m
            .exec(source)?.[1]
            ?.split(/\s*,\s*/)
            .map((path) => (isAbsolute(path) ? path : join(root, path))) ?? [],
        limitS: Number(/^\s*(?:\/\/|\*)\s*limit:\s*(\d+)\s*s\b/m.exec(source)?.[1] ?? DEFAULT_LIMIT_S),
      };
    });
}

/** What holds the style, one point for each tool. @type {Test} */
const LINT = {
  name: 'lint',
  command: ['node', join('scripts', 'lint.mjs')],
  cwd: root,
  env: {},
  lanes: ['native'],
  alone: false,
  limitS: 600,
};

/**
 * TURNKEY_TEST_CPU=1: the processor time of each test is told beside its time. A shell that stands around the test
 * tells it, so a death by signal shows as its exit code. The guest's clock counts what QEMU waited for, too.
 */
const MEASURED = process.env.TURNKEY_TEST_CPU === '1';
/** @param {readonly string[]} command */
const measuring = (command) => (MEASURED ? ['sh', '-c', '"$@"; s=$?; times >&2; exit $s', 'sh', ...command] : command);
/** What the shell's `times` said of its children, in seconds. @param {string} stderr */
function cpuSeconds(stderr) {
  const [, last = ''] = /([^\n]*)\n?$/.exec(stderr) ?? [];
  const times = [...last.matchAll(/(\d+)m([\d.]+)s/g)];
  return times.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}

/** @param {Test} test @param {string} [lane] @returns {Promise<Ended>} */
async function runHere({ command, cwd, env, limitS }, lane = 'native') {
  const [program = '', ...args] = measuring(
    command.map((word, at) => (at === 0 && word === 'node' ? process.execPath : word)),
  );
  const { Stopwatch } = await fromDist('machine/stopwatch.js');
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      // tap's own limits are the clock's, so it gets none
      env: { ...process.env, TURNKEY_LANE: lane, TAP_TIMEOUT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    /** @type {Buffer[]} */
    const out = [];
    /** @type {Buffer[]} */
    const err = [];
    let timedOut = false;
    child.stdout.on('data', (/** @type {Buffer} */ bytes) => out.push(bytes));
    child.stderr.on('data', (/** @type {Buffer} */ bytes) => err.push(bytes));
    const killAll = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // gone already
      }
    };
    const callOff =
      child.pid === undefined
        ? () => undefined
        : new Stopwatch(child.pid).after(limitS * 1000, () => {
            timedOut = true;
            killAll();
          });
    /** @param {Partial<Ended>} how */
    const finish = (how) => {
      callOff();
      resolve({
        stdout: Buffer.concat(out).toString('utf8'),
        stderr: Buffer.concat(err).toString('utf8'),
        timedOut,
        lost: false,
        reason: timedOut ? `time limit of ${limitS} s` : null,
        exitCode: null,
        signal: null,
        ...how,
      });
    };
    child.on('error', (error) => {
      finish({ reason: error.message });
    });
    child.on('exit', () => setTimeout(killAll, 1000).unref()); // what it left running may hold its pipes
    child.on('close', (exitCode, signal) => {
      finish({ exitCode, signal });
    });
  });
}

/** What was compiled. @param {string} path @returns {Promise<any>} */
const fromDist = (path) => import(new URL(`../dist/src/${path}`, import.meta.url).href);

/** Takes tests from the queue until it is empty. @param {string} lane @param {Test[]} queue @param {RunOne} runOne */
async function worker(lane, queue, runOne) {
  for (let test = queue.shift(); test !== undefined; test = queue.shift()) {
    const started = Date.now();
    const result = await runOne(test);
    record(lane, test, result, Date.now() - started);
  }
}

/** What takes longest, in that order: what is begun last is to be short, so that no processor waits at the end. */
const LONGEST = [
  'run/cost-counted.test',
  'callout/handlers.test',
  'callout/lifetime.test',
  'run/run.test',
  'machine/machine.test',
  'callout/threads.test',
  'package/package.test',
  'callout/guard.test',
  'run/emulated.test',
  'run/catalogue-control.test',
  'run/cost-native.test',
  'experiments/lua-run.test',
  'gate_mutants',
  'image/refused.test',
  'lint',
];
/** @param {Test} test */
const rank = ({ name }) => (LONGEST.includes(name) ? LONGEST.indexOf(name) : LONGEST.length);

/**
 * Runs those that share the machine, `atOnce` at a time, the longest first; answers with what runs the others.
 * @param {string} lane @param {readonly Test[]} tests @param {number} atOnce @param {RunOne} runOne
 */
async function runAll(lane, tests, atOnce, runOne) {
  const together = tests.filter(({ alone }) => !alone).sort((a, b) => rank(a) - rank(b));
  await Promise.all(Array.from({ length: atOnce }, () => worker(lane, together, runOne)));
  return () =>
    worker(
      lane,
      tests.filter(({ alone }) => alone),
      runOne,
    );
}

/** @param {string} lane @param {Test} test @param {Ended} result @param {number} ms */
function record(lane, test, result, ms) {
  const verdict = judge(result);
  const { passed, skipped, failures } = verdict;
  if (lane === 'emulated')
    for (const { name, reason } of skipped)
      if (/no (protection )?keys/i.test(reason))
        failures.push(`skipped for want of keys, which the guest has: ${name} (${reason})`);
  totals.passed += passed;
  totals.failed += failures.length;
  totals.skipped += skipped.length;
  for (const { name, reason } of skipped) {
    const key = `${lane}: ${reason || 'no reason given'}`;
    skips.set(key, [...(skips.get(key) ?? []), `${test.name}: ${name}`]);
  }
  const counts = [
    `${passed} passed`,
    ...(failures.length > 0 ? [`${failures.length} FAILED`] : []),
    ...(skipped.length > 0 ? [`${skipped.length} skipped`] : []),
  ].join(', ');
  const word = failures.length > 0 ? 'FAIL' : 'ok  ';
  const cpu = MEASURED ? `${cpuSeconds(result.stderr).toFixed(1)} s of CPU, ` : '';
  process.stdout.write(
    `${lane.padEnd(9)} ${word}  ${test.name.padEnd(32)} ${counts} (${cpu}${(ms / 1000).toFixed(1)} s)\n`,
  );
  if (failures.length === 0) return;
  failed.push(...failures.map((failure) => `${lane}: ${test.name}: ${failure}`));
  for (const line of excerpt(result)) process.stdout.write(`          | ${line}\n`);
}

/**
 * A lane could not run: said loudly, and a failure where its variable requires it.
 * @param {{ lane: string, reason: string, variable: string, loss: string, command: string }} what
 */
function laneMissing({ lane, reason, variable, loss, command }) {
  const required = process.env[variable] === '1';
  const lines = [
    `the ${lane} lane did not run: ${reason}`,
    required ? `${variable}=1: that is a failure` : loss,
    `run it by: ${command}`,
  ];
  process.stdout.write(`\n${lines.map((line) => `*** ${line.replaceAll('\n', '\n*** ')}\n`).join('')}\n`);
  const [first = ''] = reason.split('\n');
  missing.push({ lane, reason: first, command });
  if (required) {
    totals.failed++;
    failed.push(`${lane}: the lane did not run`);
  } else {
    totals.skipped++;
    skips.set(`${lane}: the lane did not run`, [first]);
  }
}
/** @param {string} reason */
const emulatedMissing = (reason) => {
  laneMissing({
    lane: 'emulated',
    reason,
    variable: 'TURNKEY_REQUIRE_EMULATED',
    loss: 'nothing that needs protection keys was tested',
    command: 'npm test -- --lane emulated',
  });
};

/**
 * The C layers for another machine. `asked`: by name, so what is missing is installed. Answers with how many tests.
 * @param {keyof typeof CROSS_LANES} lane @param {boolean} asked @param {(test: Test) => boolean} chosen
 */
async function crossLane(lane, asked, chosen) {
  const { what, script, required } = CROSS_LANES[lane];
  const lacking = missingForLane(lane).map(({ package: name }) => name);
  if (asked || process.env[required] === '1') ensurePrerequisites({ lane });
  else if (lacking.length > 0) {
    const reason = `${lacking.join(', ')} ${lacking.length === 1 ? 'is' : 'are'} not installed`;
    const loss = `nothing was tested for ${what}`;
    laneMissing({ lane, reason, variable: required, loss, command: `npm run ${script}` });
    return 1;
  }
  const tests = nativeTests(buildCross(lane)).filter((test) => chosen(test) && (asked || test.thorough !== true));
  const runAlone = await runAll(lane, tests, NATIVE_AT_ONCE, (test) => runHere(test, lane));
  await runAlone();
  return tests.length;
}

/**
 * Boots the guest, runs what shares it, and answers with what runs the rest and ends the guest.
 * @param {readonly Test[]} tests
 */
async function emulatedLane(tests) {
  const { Machine } = await fromDist('machine/index.js');
  const files = tests.flatMap(({ command, cwd, with: also = [] }) =>
    [...command, ...also].filter((word) => word.startsWith('/') && existsSync(word) && word !== cwd),
  );
  let machine;
  try {
    machine = await Machine.boot({
      extraFiles: ['libz.so.1', 'libsqlite3.so.0', ...files],
    });
  } catch (error) {
    emulatedMissing(error instanceof Error ? error.message : String(error));
    return () => Promise.resolve();
  }
  const { kernel, qemu, bootMs, conformance, processors } = machine.info;
  process.stdout.write(
    `emulated  Linux ${kernel} on QEMU ${qemu}, up in ${(bootMs / 1000).toFixed(1)} s, ` +
      `${conformance.length} conformance checks passed\n`,
  );
  /** @type {RunOne} */
  const runOne = ({ command, cwd, env, limitS }) =>
    machine.run({
      command: measuring(command),
      cwd: cwd.startsWith(join(root, 'build-c')) ? root : cwd,
      env: { TAP_TIMEOUT: '0', ...env },
      timeoutMs: limitS * GUEST_SLOWNESS * 1000,
    });
  const runAlone = await runAll('emulated', tests, processors, runOne);
  return async () => {
    await runAlone();
    if (MEASURED) process.stdout.write(`emulated  QEMU: ${processorTime(machine.info.pid).ownS.toFixed(1)} s of CPU\n`);
    await machine.close();
  };
}

/** @param {number} startedMs */
function closing(startedMs) {
  process.stdout.write('\n');
  if (skips.size > 0) {
    process.stdout.write('Skipped:\n');
    for (const [reason, names] of skips) {
      const some = names.slice(0, 3).join('; ') + (names.length > 3 ? '; …' : '');
      process.stdout.write(`  ${names.length} for ${reason} (${some})\n`);
    }
  }
  if (failed.length > 0) process.stdout.write(`Failed:\n${failed.map((line) => `  ${line}\n`).join('')}`);
  if (missing.length > 0) {
    process.stdout.write('Lanes that did not run:\n');
    for (const { lane, reason, command } of missing)
      process.stdout.write(`  ${lane.padEnd(9)} ${command.padEnd(28)} (${reason})\n`);
    process.stdout.write(`  all       ${'npm run test:all'.padEnd(28)} (everything, and all of it required)\n`);
  }
  process.stdout.write(`Took ${((Date.now() - startedMs) / 1000).toFixed(0)} s\n`);
  process.stdout.write(
    `${totals.passed} passed, ${totals.failed} failed${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''}\n`,
  );
  return totals.failed > 0 ? 1 : 0;
}

/** @param {readonly string[]} words */
function nothingChosen(words) {
  process.stdout.write(`no test's name contains ${words.join(' or ')}\n0 passed, 1 failed\n`);
  return 1;
}

async function main() {
  const startedMs = Date.now();
  const { lane, words } = options();
  /** @param {Test} test */
  const chosen = ({ name }) => words.length === 0 || words.some((word) => name.includes(word));
  if (lane !== undefined && lane in CROSS_LANES) {
    ensurePrerequisites({ emulated: false });
    buildTypeScript();
    const count = await crossLane(/** @type {keyof typeof CROSS_LANES} */ (lane), true, chosen);
    return count === 0 ? nothingChosen(words) : closing(startedMs);
  }
  ensurePrerequisites();
  const nativeTestsBuilt = buildNativeTestsBeside();
  buildNative();
  buildTypeScript();
  const tests = [...nativeTests(await nativeTestsBuilt), ...tapTests(), LINT].filter(chosen);
  if (tests.length === 0) return nothingChosen(words);
  process.stdout.write(`Node ${process.version}, ${relative(process.cwd(), root) || 'in this folder'}\n`);
  const here = lane === 'emulated' ? [] : tests.filter(({ lanes }) => lanes.includes('native'));
  const guests = lane === 'native' ? [] : tests.filter(({ lanes }) => lanes.includes('emulated'));
  const emulated = lane === 'emulated' || emulatedWanted();
  if (guests.length > 0 && !emulated && !hostHasKeys()) emulatedMissing('TURNKEY_NO_EMULATED is set');
  // side by side: a test that waits, and a guest with one busy processor, leave room for the other
  const left = await Promise.all([
    runAll('native', here, NATIVE_AT_ONCE, runHere),
    ...(guests.length > 0 && emulated ? [emulatedLane(guests)] : []),
  ]);
  for (const runRest of left) await runRest();
  if (lane === undefined)
    for (const cross of /** @type {(keyof typeof CROSS_LANES)[]} */ (Object.keys(CROSS_LANES)))
      await crossLane(cross, false, chosen);
  return closing(startedMs);
}

main().then((code) => process.exit(code), fail);
