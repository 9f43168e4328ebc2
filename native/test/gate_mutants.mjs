// A test of the tests: the gate is broken in one place at a time, and the tests that are to guard it must fail.
//
//   node gate_mutants.mjs --machine x86_64|aarch64|windows --gate FILE.S --include DIR --compiler CC --work DIR [--run
// COMMAND,ARGUMENT...] --test NAME=LINK,LINK... [--test ...]
//
// Each mutant of the gate's text is assembled, and linked with a test's own objects before the library that holds the
// gate as it is. Then it is run (through --run, an emulator). What is broken is listed for each machine in
// gate_mutants_<machine>.mjs. Prints TAP; the exit code is 1 if a mutant survives. No dependencies.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const options = { machine: 'x86_64', run: '', test: [] };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, '');
  if (name === 'test') options.test.push(process.argv[i + 1]);
  else options[name] = process.argv[i + 1];
}

const { mutants, link, extension = '' } = await import(`./gate_mutants_${options.machine}.mjs`);
const source = readFileSync(options.gate, 'utf8');
function mutate([, [from, to], ...changes]) {
  const start = source.indexOf(from),
    end = source.indexOf(to, start);
  if (start < 0 || end < 0)
    throw new Error(`the gate has no part from ${JSON.stringify(from)} to ${JSON.stringify(to)}`);
  let part = source.slice(start, end);
  for (let i = 0; i < changes.length; i += 2) {
    if (!part.includes(changes[i]))
      throw new Error(`the gate has no ${JSON.stringify(changes[i])} in its part from ${JSON.stringify(from)}`);
    part = part.replaceAll(changes[i], () => changes[i + 1]);
  }
  return source.slice(0, start) + part + source.slice(end);
}

function compile(args) {
  const { status, stderr } = spawnSync(options.compiler, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${options.compiler} ${args.join(' ')}: ${stderr}`);
}
/** The object file of a gate's text. */
function assemble(name, text) {
  const file = join(options.work, `${name}.S`),
    object = join(options.work, `${name}.o`);
  writeFileSync(file, text);
  compile(['-c', ...(options.machine === 'windows' ? [] : ['-fPIC']), `-I${options.include}`, file, '-o', object]);
  return object;
}
/** A test's program with that gate, without debugging information: reading and writing it took most of a link. */
function build(test, name, object) {
  const program = join(options.work, `${test.name}-${name}${extension}`);
  const libraries = options.machine === 'windows' ? [] : ['-lpthread', '-ldl'];
  compile([object, ...test.links, ...link, '-Wl,--strip-debug', ...libraries, '-o', program]);
  return program;
}
/**
 * Whether a test passes, or dies trying. What has failed in one point need not go on to the others. Each point ends by
 * its own limit (check.h), so this has none.
 */
function passes(program, env = { CHECK_LIMIT_S: '5' }) {
  const [command, ...args] = [...options.run.split(',').filter(Boolean), program];
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true, // a test's points run in processes of their own
    });
    let text = '';
    child.stdout.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (!/^not ok/m.test(text)) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // gone already
      }
    });
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
}

mkdirSync(options.work, { recursive: true });
const tests = options.test.map((t) => ({
  name: t.slice(0, t.indexOf('=')),
  links: t.slice(t.indexOf('=') + 1).split(','),
}));
let number = 0,
  failed = 0;
function report(good, text) {
  number++;
  if (!good) failed++;
  process.stdout.write(`${good ? 'ok' : 'not ok'} ${number} - ${text}\n`);
}
process.stdout.write('TAP version 13\n');
const whole = assemble('whole', source);
for (const test of tests)
  report(await passes(build(test, 'whole', whole), {}), `${test.name} passes with the gate as it is`);
for (const [i, mutant] of mutants.entries()) {
  const object = assemble(`mutant-${i}`, mutate(mutant));
  let noticed;
  for (const test of tests) {
    if (await passes(build(test, i, object))) continue;
    noticed = test.name;
    break;
  }
  report(noticed !== undefined, `${mutant[0]}: noticed by ${noticed ?? 'no test'}`);
}
process.stdout.write(`1..${number}\n`);
process.exitCode = failed === 0 ? 0 : 1;
