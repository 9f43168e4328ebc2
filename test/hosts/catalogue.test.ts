/**
 * The catalogue on hosts: the verdict on what a program left, and two cases run in CPython, Ruby and Node as they are.
 * Broken once: the address of the fault not compared with the object (a fault elsewhere was 'prevented'); programs
 * started without the guard (the store landed under every mechanism).
 */
import t from 'tap';

import { type HostCase, HOSTS } from '../../src/experiment/host-case.js';
import { judge, type Left } from '../../src/hosts/judge.js';
import type { Called } from '../../src/hosts/record.js';
import { hostCases, runHosts } from '../../src/hosts/run.js';

const about: HostCase = { name: 'x', title: '', callees: ['word'], target: 'payload', bytes: 8 };
const fault = { name: 'exception in FFI call', signal: 11, address: 4096, pkey: 3 };
const called: Called = { stage: 'called', at: 4096, error: fault, returned: null, intact: true };
const done = { stage: 'done', right: true, intact: true } as const;
const left: Left = { end: 0, called, done };

t.test('prevention needs the fault of the mechanism, at that memory, and the right answer', (t) => {
  t.equal(judge(about, 'pkeys', left).verdict, 'prevented');
  t.equal(judge(about, 'mprotect-range', { ...left, called: { ...called, at: 4090 } }).verdict, 'prevented');
  t.equal(judge(about, 'flag', left).verdict, 'trapped', 'the trap alone closes nothing');
  for (const other of [{ pkey: null }, { pkey: 0 }, { address: 8192 }, { address: 4095 }, { signal: 7 }])
    t.equal(
      judge(about, 'pkeys', { ...left, called: { ...called, error: { ...fault, ...other } } }).verdict,
      'trapped',
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

t.test('the catalogue has at least 20 cases for each host', async (t) => {
  const cases = await hostCases();
  for (const host of HOSTS) t.ok(cases.filter(({ skip }) => skip?.[host] === undefined).length >= 20, host);
  t.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
});

t.test('a stray store, an abort and honest work in programs as they are', async (t) => {
  const missing: string[] = [];
  const runs = await runHosts(
    {
      lane: 'native',
      hosts: ['cpython', 'node', 'ruby'],
      mechanisms: ['none', 'mprotect-range'],
      cases: ['object', 'abort', 'honest'],
      repeat: 1,
    },
    (line) => missing.push(line),
    () => undefined,
  );
  t.ok(runs.some(({ host }) => host === 'node'));
  for (const line of missing) t.comment(line);
  for (const { host, trials } of runs)
    t.same(
      Object.fromEntries(trials.map(({ case: name, mechanism, verdict }) => [`${name} ${mechanism}`, verdict])),
      {
        'object none': 'damaged',
        'object mprotect-range': 'prevented',
        'abort none': 'crashed',
        'abort mprotect-range': 'trapped',
        'honest none': 'harmless',
        'honest mprotect-range': 'harmless',
      },
      host,
    );
});
