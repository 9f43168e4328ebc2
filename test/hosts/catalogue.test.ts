/**
 * The catalogue on hosts: the verdict on what a program left, and two cases run in CPython, Ruby and Node as they are.
 * Broken once: the fault's address not compared with the object; programs started without the guard.
 */
import { readFileSync } from 'node:fs';

import t from 'tap';

import { type HostCase, HOSTS } from '../../src/experiment/host-case.js';
import { judge, type Left } from '../../src/hosts/judge.js';
import { type Called, type HostRecord, readHosts } from '../../src/hosts/record.js';
import { moduleNote } from '../../src/hosts/report.js';
import { hostCases, runHosts } from '../../src/hosts/run.js';
import { inProject } from '../../src/record/paths.js';

const about: HostCase = { name: 'x', title: '', callees: ['word'], target: 'payload', bytes: 8 };
const ffi = 'exception in FFI call';
const fault = { name: ffi, signal: 11, code: 'SEGV_PKUERR', address: 4096, pkey: 3, module: 'libc.so.6' };
const called: Called = { stage: 'called', at: 4096, error: fault, returned: null, intact: true };
const done = { stage: 'done', right: true, intact: true } as const;
const left: Left = { end: 0, called, done };

t.test('prevention needs the fault of the mechanism, at that memory, and the right answer', (t) => {
  t.equal(judge(about, 'pkeys', left).verdict, 'prevented');
  const closed = { ...called, at: 4090, error: { ...fault, code: 'SEGV_ACCERR', pkey: null } };
  t.equal(judge(about, 'mprotect-range', { ...left, called: closed }).verdict, 'prevented');
  t.equal(judge(about, 'mprotect-range', left).verdict, 'trapped', 'the key of another mechanism');
  t.equal(judge(about, 'flag', left).verdict, 'trapped', 'the trap alone closes nothing');
  for (const other of [{ pkey: null }, { pkey: 0 }, { address: 8192 }, { address: 4095 }, { code: 'SEGV_MAPERR' }])
    t.equal(
      judge(about, 'pkeys', { ...left, called: { ...called, error: { ...fault, ...other } } }).verdict,
      'trapped',
    );
  for (const module of [
    'node',
    'koffi.node',
    'python3.11',
    'libruby-3.1.so.3.1',
    'so.SqueakFFIPrims',
    'libffi.so.8',
    '',
  ])
    t.equal(
      judge(about, 'pkeys', { ...left, called: { ...called, error: { ...fault, module } } }).verdict,
      'trapped',
      `I10: an instruction of '${module}', which is no callee's`,
    );
  t.equal(judge({ ...about, target: 'number' }, 'pkeys', left).verdict, 'trapped', 'the address was no object');
  t.equal(judge(about, 'pkeys', { ...left, done: { ...done, right: false } }).verdict, 'damaged');
  t.equal(judge(about, 'pkeys', { ...left, called: { ...called, intact: false } }).verdict, 'damaged');
  t.end();
});

t.test('how a program ended decides where it said nothing', (t) => {
  t.equal(judge(about, 'pkeys', { end: 'SIGSEGV', called: null, done: null }).verdict, 'crashed');
  t.equal(judge(about, 'pkeys', { ...left, end: 'SIGSEGV', done: null }).verdict, 'crashed');
  t.equal(judge(about, 'pkeys', { ...left, end: 'time', done: null }).verdict, 'hung');
  t.equal(judge(about, 'none', { ...left, called: { ...called, error: null, returned: -14 } }).verdict, 'refused');
  t.equal(judge(about, 'none', { ...left, called: { ...called, error: null, returned: 0 } }).verdict, 'harmless');
  const lent: HostCase = { ...about, target: 'lent' };
  t.equal(judge(lent, 'pkeys', { ...left, called: { ...called, intact: false } }).verdict, 'host-damaged');
  t.end();
});

t.test('of records that name no module it is said, in docs/hosts.md too', (t) => {
  // Broken once: the sentence taken out of docs/hosts.md.
  const words = (text: string): string => text.replaceAll(/\s+/g, ' ');
  const recorded = readHosts(inProject('results/reference-hosts'));
  const page = words(readFileSync(inProject('docs/hosts.md'), 'utf8'));
  const note = moduleNote(recorded);
  if (note === '') t.notMatch(page, /name no module/);
  else t.ok(page.includes(note), note);
  const trial = {
    case: 'x',
    host: 'node',
    mechanism: 'pkeys',
    verdict: 'prevented',
    because: '',
    end: 0,
    done,
  } as const;
  const run = { lane: 'native', host: 'node', commit: 'c0', started: '', kernel: '', cpu: '', version: '' } as const;
  const { module, ...older } = fault;
  const recordOf = (error: Called['error']): HostRecord => ({
    schemaVersion: 1,
    runs: [{ ...run, trials: [{ ...trial, called: { ...called, error } }] }],
  });
  t.match(moduleNote(recordOf(older)), /^The records of c0 name no module/);
  t.equal(moduleNote(recordOf({ ...older, module })), '');
  t.equal(moduleNote(recordOf(null)), '', 'nothing to check');
  t.end();
});

t.test('the catalogue has at least 20 cases for each host', async (t) => {
  const cases = await hostCases();
  for (const host of HOSTS) t.ok(cases.filter(({ skip }) => skip?.[host] === undefined).length >= 20, host);
  t.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
});

for (const host of ['cpython', 'node', 'ruby'] as const) {
  const said: string[] = [];
  t.test(`${host}: a stray store, an abort and honest work`, async (t) => {
    const options = {
      lane: 'native',
      hosts: [host],
      mechanisms: ['none', 'mprotect-range'],
      cases: (await hostCases()).filter(({ name }) => ['object', 'abort', 'honest'].includes(name)),
      repeat: 1,
    } as const;
    const [run] = await runHosts(
      options,
      (line) => said.push(line),
      () => undefined,
    );
    if (run === undefined) {
      t.pass('', { skip: said.join('; ') });
      return;
    }
    t.same(
      Object.fromEntries(run.trials.map(({ case: name, mechanism, verdict }) => [`${name} ${mechanism}`, verdict])),
      {
        'object none': 'damaged',
        'object mprotect-range': 'prevented',
        'abort none': 'crashed',
        'abort mprotect-range': 'trapped',
        'honest none': 'harmless',
        'honest mprotect-range': 'harmless',
      },
    );
  });
}
