// A test of the tests: the gate is broken in one place at a time, and the tests that are to guard it must fail.
//
//   node gate_mutants.mjs --gate FILE.S --include DIR --compiler CC --work DIR --test NAME=LINK,LINK... [--test ...]
//
// Each mutant of the gate's text is assembled and linked with a test's own objects (before the library that holds the gate as it is), and run. Prints
// TAP; the exit code is 1 if a mutant survives. No dependencies.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const options = { test: [] };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, '');
  if (name === 'test') options.test.push(process.argv[i + 1]);
  else options[name] = process.argv[i + 1];
}

/** What is broken: [what, in which part of the file, text, replacement, which test, arguments]. The text must occur in that part. */
const FAST = ['\t.macro\tGATE', '\t.endm'], SLOW = ['ENTRY\ttrap_gate_slow', '.size\ttrap_gate_slow'], CALLBACK = ['ENTRY\ttrap_callback_gate', '.cfi_endproc'];
const SAVE = ['\t.macro\tSAVE_ARGUMENTS', '\t.endm'], LOAD = ['\t.macro\tLOAD_ARGUMENTS', '\t.endm'];
const mutants = [
  ['fast: al is lost', FAST, '\tcall\t*E_TARGET(%r11)', '\txorl\t%eax, %eax\n\tcall\t*E_TARGET(%r11)'],
  ['fast: the last stack word is not copied', FAST, 'jnz\t1b', 'cmpq\t$8, %rbx\n\tjg\t1b'],
  ['fast: stack words lie one too high', FAST, 'movq\t%r15, -8(%rsp,%rbx)', 'movq\t%r15, (%rsp,%rbx)'],
  ['fast: the stack is misaligned at the call', FAST, '\tcall\t*E_TARGET(%r11)', '\tsubq\t$8, %rsp\n\tcall\t*E_TARGET(%r11)\n\taddq\t$8, %rsp'],
  ['fast: rdx is lost on the way back', FAST, '2:\n', '2:\txorl\t%edx, %edx\n'],
  ['fast: xmm1 is lost on the way back', FAST, '2:\n', '2:\tpxor\t%xmm1, %xmm1\n'],
  ['fast: rax is lost on the way back', FAST, '2:\n', '2:\txorl\t%eax, %eax\n'],
  ['fast: st1 is lost on the way back', FAST, '2:\n', '2:\tffree\t%st(1)\n'],
  ['fast: not disarmed', FAST, 'movq\t$0, T_STATE(%rbp)', ''],
  ['fast: not armed', FAST, 'movq\t%r11, T_STATE(%rbp)', ''],
  ['fast: rbx is not given back', FAST, 'movq\tF_RBX(%rbp), %rbx', ''],
  ['fast: the direction flag stays as the callee left it', FAST, '\tcld', ''],
  ['slow: the direction flag stays as the callee left it', SLOW, '\tcld\n', '\n'],
  ['callback: the direction flag is the callee\'s', CALLBACK, '\tcld', ''],
  ['save: xmm7', SAVE, '\tmovups\t%xmm7, 112(%rsp)', ''],
  ['load: xmm0', LOAD, '\tmovups\t0(\\from), %xmm0', ''],
  ['load: r9', LOAD, '\tmovq\t168(\\from), %r9', ''],
  ['load: al', LOAD, '\tmovq\t176(\\from), %rax', '\txorl\t%eax, %eax'],
  ['slow: rdx of the result', SLOW, '\tmovq\t8(%rbx), %rdx', ''],
  ['slow: xmm1 of the result', SLOW, '\tmovups\t32(%rbx), %xmm1', '\tpxor\t%xmm1, %xmm1'],
  ['slow: one stack word too few', SLOW, 'jnz\t1b', 'cmpq\t$8, %rcx\n\tjg\t1b'],
  ['slow: its CFI does not follow rbx', SLOW, '\tCFI_FRAME_RBX\n', ''],
  ['fast: its CFI does not know the frame', FAST, '\n\tCFI_FRAME_RBP\n\t.if', '\n\t.if'],
  ['fast: its CFI does not know that rbp changed', FAST, '\t.cfi_escape 0x10, 6, 2, 0x76, F_RBP\n', ''],
  ['fast: its CFI does not know that all is back', FAST, '\t.cfi_restore_state\n\tret', '\tret'],
  ['fast: a callee that loses rbp is not noticed', FAST, 'jnz\t4f', ''],
  ['callback: rdx of the result', CALLBACK, '\tmovq\t8(%rsp), %rdx', ''],
  ['callback: xmm1 of the result', CALLBACK, '\tmovups\t32(%rsp), %xmm1', '\tpxor\t%xmm1, %xmm1'],
  ['callback: one stack word too few', CALLBACK, 'jnz\t1b', 'cmpq\t$8, %rcx\n\tjg\t1b'],
  ['callback: stack words lie one too high', CALLBACK, 'movq\t%rdx, -8(%rax,%rcx)', 'movq\t%rdx, (%rax,%rcx)'],
];

const source = readFileSync(options.gate, 'utf8');
function mutate([, [from, to], ...changes]) {
  const start = source.indexOf(from), end = source.indexOf(to, start);
  if (start < 0 || end < 0) throw new Error(`the gate has no part from ${JSON.stringify(from)} to ${JSON.stringify(to)}`);
  let part = source.slice(start, end);
  for (let i = 0; i < changes.length; i += 2) {
    if (!part.includes(changes[i])) throw new Error(`the gate has no ${JSON.stringify(changes[i])} in its part from ${JSON.stringify(from)}`);
    part = part.replaceAll(changes[i], () => changes[i + 1]);
  }
  return source.slice(0, start) + part + source.slice(end);
}

function build(name, text, links) {
  const file = join(options.work, `${name}.S`), object = join(options.work, `${name}.o`), program = join(options.work, name);
  writeFileSync(file, text);
  const run = (args) => {
    const { status, stderr } = spawnSync(options.compiler, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${options.compiler} ${args.join(' ')}: ${stderr}`);
  };
  run(['-c', '-fPIC', `-I${options.include}`, file, '-o', object]);
  run([object, ...links, '-lpthread', '-ldl', '-o', program]);
  return program;
}
/** Whether a test passes, or dies trying. */
function passes(program) {
  const { status } = spawnSync(program, [], { env: { ...process.env, CHECK_LIMIT_S: '5' }, stdio: 'ignore', timeout: 60_000, killSignal: 'SIGKILL' });
  return status === 0;
}

mkdirSync(options.work, { recursive: true });
const tests = options.test.map((t) => ({ name: t.slice(0, t.indexOf('=')), links: t.slice(t.indexOf('=') + 1).split(',') }));
let number = 0, failed = 0;
function report(good, text) {
  number++;
  if (!good) failed++;
  process.stdout.write(`${good ? 'ok' : 'not ok'} ${number} - ${text}\n`);
}
process.stdout.write('TAP version 13\n');
for (const test of tests) report(passes(build(`${test.name}-whole`, source, test.links)), `${test.name} passes with the gate as it is`);
mutants.forEach((mutant, i) => {
  const text = mutate(mutant);
  const noticed = tests.find((test) => !passes(build(`${test.name}-${i}`, text, test.links)));
  report(noticed !== undefined, `${mutant[0]}: ${noticed ? `noticed by ${noticed.name}` : 'noticed by no test'}`);
});
process.stdout.write(`1..${number}\n`);
process.exitCode = failed === 0 ? 0 : 1;
