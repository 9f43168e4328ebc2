// `npm test`: sets up what is missing, builds, and runs every test in every lane that applies: the C layers' tests and
// the compiled test/**/*.test.ts, here and in one emulated guest; and the C layers' tests cross-compiled, where the tools
// for that are there already. The last line counts:
// N passed, N failed[, N skipped].
//
// npm test -- [--lane native|emulated|qemu-user|wine] [WORD…]   only tests whose name contains one of the words
//
// A cross-compiled lane that is asked for (npm run test:arm64, npm run test:windows) sets up what it needs.
//
// A test file says in comment lines where and how it runs:
//   // lanes: native, emulated     (default: native)
//   // alone                       nothing else runs beside it
//   // limit: 300 s                (default: 180 s; four times that in the guest)
// C tests that are programs of the project run in both lanes; the ctest label `native` or `emulated` restricts one, the
// label `alone` sets it apart, and one with `thorough` runs in a cross-compiled lane only where that was asked for.
//
// TURNKEY_REQUIRE_EMULATED=1 makes it a failure that the emulated lane cannot run; TURNKEY_REQUIRE_BROWSER=1 installs
// Chromium, and makes it a failure that report.html cannot be opened in it. TURNKEY_REQUIRE_ARM64=1 and
// TURNKEY_REQUIRE_WINDOWS=1 set that lane up in any run, and make it a failure that it cannot run.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';

import {
  buildCross,
  buildNative,
  buildNativeTests,
  buildTypeScript,
  CROSS_LANES,
  emulatedWanted,
  ensurePrerequisites,
  fail,
  hostHasKeys,
  missingForLane,
  root,
} from './setup.mjs';
import { excerpt, judge } from './tap.mjs';

const DEFAULT_LIMIT_S = 180;
/** The guest is this much slower, as far as time limits go. */
const GUEST_SLOWNESS = 4;
const NATIVE_AT_ONCE = 2;
const LANES = ['native', 'emulated', ...Object.keys(CROSS_LANES)];

const totals = { passed: 0, failed: 0, skipped: 0 };
const skips = new Map();
const failed = [];

function options() {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { lane: { type: 'string' } } });
    if (values.lane !== undefined && !LANES.includes(values.lane))
      throw new Error(`--lane ${values.lane}: expected one of ${LANES.join(', ')}`);
    return { lane: values.lane, words: positionals };
  } catch (error) {
    process.stderr.write(`npm test: ${error.message}\n`);
    process.exit(2);
  }
}

/** The C tests that ctest knows. */
function nativeTests(folder) {
  const { stdout, status, stderr } = spawnSync('ctest', ['--test-dir', folder, '--show-only=json-v1'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`ctest could not list the tests: ${stderr}`);
  return JSON.parse(stdout)
    .tests.filter(({ command }) => command !== undefined)
    .map(({ name, command, properties = [] }) => {
      const property = (wanted) => properties.find((each) => each.name === wanted)?.value;
      const labels = property('LABELS') ?? [];
      const restricted = ['native', 'emulated'].filter((lane) => labels.includes(lane));
      return {
        name,
        command,
        cwd: property('WORKING_DIRECTORY') ?? folder,
        env: Object.fromEntries((property('ENVIRONMENT') ?? []).map((text) => text.split(/=(.*)/s).slice(0, 2))),
        // what a tool of this machine does (cmake -P, a search in a binary) has no place in the guest
        lanes: restricted.length > 0 ? restricted : command[0].startsWith(folder) ? ['native', 'emulated'] : ['native'],
        alone: labels.includes('alone'),
        thorough: labels.includes('thorough'),
        limitS: property('TIMEOUT') ?? DEFAULT_LIMIT_S,
      };
    });
}

/** The compiled test files. */
function tapTests() {
  const folder = join(root, 'test');
  return readdirSync(folder, { recursive: true })
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
        limitS: Number(/^\s*(?:\/\/|\*)\s*limit:\s*(\d+)\s*s\b/m.exec(source)?.[1] ?? DEFAULT_LIMIT_S),
      };
    });
}

function runHere({ command: [program, ...args], cwd, env, limitS }, lane = 'native') {
  return new Promise((resolve) => {
    const child = spawn(program === 'node' ? process.execPath : program, args, {
      cwd,
      env: { ...process.env, TURNKEY_LANE: lane, TAP_TIMEOUT: String(limitS), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const out = [];
    const err = [];
    let timedOut = false;
    child.stdout.on('data', (bytes) => out.push(bytes));
    child.stderr.on('data', (bytes) => err.push(bytes));
    const killAll = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // gone already
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      killAll();
    }, limitS * 1000);
    const finish = (how) => {
      clearTimeout(timer);
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
    child.on('error', (error) => finish({ reason: error.message }));
    child.on('exit', () => setTimeout(killAll, 1000).unref()); // what it left running may hold its pipes
    child.on('close', (exitCode, signal) => finish({ exitCode, signal }));
  });
}

/** Runs tests, `atOnce` at a time, those that want to be alone last and one by one. */
async function runAll(lane, tests, atOnce, runOne) {
  const worker = async (queue) => {
    for (let test = queue.shift(); test !== undefined; test = queue.shift()) {
      const started = Date.now();
      const result = await runOne(test);
      record(lane, test, result, Date.now() - started);
    }
  };
  const together = tests.filter(({ alone }) => !alone).sort((a, b) => b.limitS - a.limitS); // the longest first
  await Promise.all(Array.from({ length: atOnce }, () => worker(together)));
  await worker(tests.filter(({ alone }) => alone));
}

function record(lane, test, result, ms) {
  const verdict = judge(result);
  totals.passed += verdict.passed;
  if (lane === 'emulated') {
    // the guest has keys: a test that misses them there is broken
    for (const { name } of verdict.skipped.filter(({ reason }) => /no (protection )?keys/i.test(reason))) {
      verdict.failures.push(`skipped for want of keys, which the guest has: `);
      verdict.failed++;
    }
  }
  totals.failed += verdict.failed;
  totals.skipped += verdict.skipped.length;
  for (const { name, reason } of verdict.skipped) {
    const key = `${lane}: ${reason || 'no reason given'}`;
    skips.set(key, [...(skips.get(key) ?? []), `${test.name}: ${name}`]);
  }
  const counts = `${verdict.passed} passed${verdict.failed > 0 ? `, ${verdict.failed} FAILED` : ''}${verdict.skipped.length > 0 ? `, ${verdict.skipped.length} skipped` : ''}`;
  process.stdout.write(
    `${lane.padEnd(9)} ${verdict.failed > 0 ? 'FAIL' : 'ok  '}  ${test.name.padEnd(32)} ${counts} (${(ms / 1000).toFixed(1)} s)\n`,
  );
  if (verdict.failed === 0) return;
  failed.push(...verdict.failures.map((failure) => `${lane}: ${test.name}: ${failure}`));
  for (const line of excerpt(result)) process.stdout.write(`          | ${line}\n`);
}

/** A lane could not run: said loudly, and a failure where its variable requires it. */
function laneMissing(lane, reason, variable, loss) {
  const required = process.env[variable] === '1';
  process.stdout.write(
    `\n*** the ${lane} lane did not run: ${reason.replaceAll('\n', '\n*** ')}\n*** ${required ? `${variable}=1: that is a failure` : loss}\n\n`,
  );
  if (required) {
    totals.failed++;
    failed.push(`${lane}: the lane did not run`);
  } else {
    totals.skipped++;
    skips.set(`${lane}: the lane did not run`, [reason.split('\n')[0]]);
  }
}
const emulatedMissing = (reason) =>
  laneMissing('emulated', reason, 'TURNKEY_REQUIRE_EMULATED', 'nothing that needs protection keys was tested');

/** The C layers for another machine. `asked`: by name, so what is missing is installed. */
async function crossLane(lane, asked, chosen) {
  const { what, script, required } = CROSS_LANES[lane];
  if (!asked && process.env[required] !== '1') {
    const missing = missingForLane(lane);
    if (missing.length > 0) {
      laneMissing(
        lane,
        `${missing.map(({ package: name }) => name).join(', ')} ${missing.length === 1 ? 'is' : 'are'} not installed (npm run ${script} would)`,
        required,
        `nothing was tested for ${what}`,
      );
      return 1;
    }
  } else {
    ensurePrerequisites({ lane });
  }
  const tests = nativeTests(buildCross(lane)).filter((test) => chosen(test) && (asked || !test.thorough));
  await runAll(lane, tests, NATIVE_AT_ONCE, (test) => runHere(test, lane));
  return tests.length;
}

async function emulatedLane(cTests, files) {
  const { Machine } = await import(new URL('../dist/src/machine/index.js', import.meta.url).href);
  let machine;
  try {
    machine = await Machine.boot({
      extraFiles: [
        'libz.so.1',
        'libsqlite3.so.0',
        ...cTests.flatMap(({ command, cwd }) =>
          [cwd, ...command].filter((word) => word.startsWith('/') && existsSync(word) && word !== cwd),
        ),
      ],
      extraPackages: files.length > 0 ? ['tap'] : [],
    });
  } catch (error) {
    emulatedMissing(error.message);
    return;
  }
  const { kernel, qemu, bootMs, conformance, processors } = machine.info;
  process.stdout.write(
    `emulated  Linux ${kernel} on QEMU ${qemu}, up in ${(bootMs / 1000).toFixed(1)} s, ${conformance.length} conformance checks passed\n`,
  );
  try {
    const runOne = ({ command, cwd, env, limitS }) =>
      machine.run({
        command,
        cwd: cwd.startsWith(join(root, 'build-c')) ? root : cwd,
        env: { TAP_TIMEOUT: String(limitS * GUEST_SLOWNESS), ...env },
        timeoutMs: limitS * GUEST_SLOWNESS * 1000,
      });
    await runAll('emulated', [...cTests, ...files], processors, runOne);
  } finally {
    await machine.close();
  }
}

function closing(startedMs) {
  process.stdout.write('\n');
  if (skips.size > 0) {
    process.stdout.write('Skipped:\n');
    for (const [reason, names] of skips)
      process.stdout.write(
        `  ${names.length} for ${reason} (${names.slice(0, 3).join('; ')}${names.length > 3 ? '; …' : ''})\n`,
      );
  }
  if (failed.length > 0) process.stdout.write(`Failed:\n${failed.map((line) => `  ${line}\n`).join('')}`);
  process.stdout.write(`Took ${((Date.now() - startedMs) / 1000).toFixed(0)} s\n`);
  process.stdout.write(
    `${totals.passed} passed, ${totals.failed} failed${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''}\n`,
  );
}

async function main() {
  const startedMs = Date.now();
  const { lane, words } = options();
  const chosen = ({ name }) => words.length === 0 || words.some((word) => name.includes(word));
  if (lane !== undefined && lane in CROSS_LANES) {
    const count = await crossLane(lane, true, chosen);
    if (count === 0) {
      process.stdout.write(`no test's name contains ${words.join(' or ')}\n0 passed, 1 failed\n`);
      return 1;
    }
    closing(startedMs);
    return totals.failed > 0 ? 1 : 0;
  }
  ensurePrerequisites();
  buildNative();
  buildTypeScript();
  const cTests = nativeTests(buildNativeTests()).filter(chosen);
  const files = tapTests().filter(chosen);
  if (cTests.length + files.length === 0) {
    process.stdout.write(`no test's name contains ${words.join(' or ')}\n0 passed, 1 failed\n`);
    return 1;
  }
  const inLane = (wanted) => [cTests, files].map((tests) => tests.filter(({ lanes }) => lanes.includes(wanted)));
  process.stdout.write(`Node ${process.version}, ${relative(process.cwd(), root) || 'in this folder'}\n`);
  if (lane !== 'emulated') await runAll('native', inLane('native').flat(), NATIVE_AT_ONCE, runHere);
  if (lane !== 'native') {
    const [c, tap] = inLane('emulated');
    if (c.length + tap.length > 0) {
      if (lane === 'emulated' || emulatedWanted()) await emulatedLane(c, tap);
      else if (!hostHasKeys() || process.env.TURNKEY_REQUIRE_EMULATED === '1')
        emulatedMissing('TURNKEY_NO_EMULATED is set');
    }
  }
  if (lane === undefined) for (const cross of Object.keys(CROSS_LANES)) await crossLane(cross, false, chosen);
  closing(startedMs);
  return totals.failed > 0 ? 1 : 0;
}

main().then((code) => process.exit(code), fail);
