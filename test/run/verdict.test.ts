/** Verdicts: pure functions of what was observed. I10's conditions, one by one. */
import t from 'tap';

import type { FaultEvidence, ProcessEvidence } from '../../src/record/records.js';
import { judge, missingForPrevented, type Observation } from '../../src/run/verdict.js';
import { exampleProcess } from '../support/example-run.js';

const fault: FaultEvidence = {
  signal: 'SIGSEGV',
  siCode: 4,
  siCodeName: 'SEGV_PKUERR',
  address: '0x7f0000001000',
  access: 'write',
  pkey: 3,
  space: 'old',
  spaceKey: 3,
  pc: '0x7e0000000010',
  pcModule: '/lib/foreign.so',
  symbol: 'foreign_write64',
  phase: 'call',
  image: 'protected',
};
const prevented: Observation = {
  mechanism: 'pkeys',
  deny: 'write',
  vmModules: ['/usr/bin/node', '/x/koffi.node', '/x/turnkey.node'],
  inapplicable: null,
  fault,
  errno: null,
  disclosed: false,
  diff: { changedBytes: 0, ranges: [], heap: { sound: true, text: 'sound' } },
  canaries: [],
  aftermath: [{ step: 'allocation', ok: true, detail: '' }],
  process: exampleProcess,
};

t.test('I10: a write counts as prevented with all of its evidence', (t) => {
  t.same(judge(prevented).verdict, 'prevented');
  t.same(judge(prevented).missing, []);
  t.same(
    judge({
      ...prevented,
      mechanism: 'mprotect-range',
      fault: { ...fault, siCode: 2, siCodeName: 'SEGV_ACCERR', pkey: 0, spaceKey: 0 },
    }).verdict,
    'prevented',
  );
  t.end();
});

t.test('I10: each missing piece of evidence makes it something else', (t) => {
  const without: readonly [string, Partial<Observation>, string][] = [
    ['wrong si_code', { fault: { ...fault, siCode: 1, siCodeName: 'SEGV_MAPERR' } }, 'trapped'],
    ['SEGV_ACCERR under keys', { fault: { ...fault, siCode: 2, siCodeName: 'SEGV_ACCERR' } }, 'trapped'],
    ['SEGV_PKUERR under mprotect', { mechanism: 'mprotect-range' }, 'trapped'],
    ['another key', { fault: { ...fault, pkey: 4 } }, 'trapped'],
    ['no key told', { fault: { ...fault, pkey: null } }, 'trapped'],
    ['an untagged space', { fault: { ...fault, pkey: 0, spaceKey: 0 } }, 'trapped'],
    ['an address outside the image', { fault: { ...fault, space: null, spaceKey: null } }, 'trapped'],
    ['pc in node', { fault: { ...fault, pcModule: '/usr/bin/node' } }, 'trapped'],
    ['pc in koffi', { fault: { ...fault, pcModule: '/x/koffi.node' } }, 'trapped'],
    ['pc in Turnkey', { fault: { ...fault, pcModule: '/x/turnkey.node' } }, 'trapped'],
    ['pc in no module', { fault: { ...fault, pcModule: null } }, 'trapped'],
    ['a read under write-deny', { fault: { ...fault, access: 'read' } }, 'trapped'],
    ['a fault in decoding', { fault: { ...fault, phase: 'decode' } }, 'trapped'],
    ['a mechanism that closes nothing', { mechanism: 'flag' }, 'trapped'],
    [
      'a changed image',
      { diff: { changedBytes: 8, ranges: [{ space: 'old', offset: 0, bytes: 8 }], heap: null } },
      'damaged',
    ],
    ['no comparison', { diff: null }, 'trapped'],
    ['a failing aftermath', { aftermath: [{ step: 'dlopen', ok: false, detail: 'locked' }] }, 'host-damaged'],
    ['a broken canary', { canaries: [{ name: 'heap', intact: false }] }, 'host-damaged'],
    ['no fault at all', { fault: null }, 'harmless'],
    ['another signal', { fault: { ...fault, signal: 'SIGBUS' } }, 'trapped'],
  ];
  for (const [name, change, verdict] of without) {
    const seen: Observation = { ...prevented, ...change };
    t.equal(judge(seen).verdict, verdict, name);
    if (seen.fault !== null && !(seen.canaries.length > 0))
      t.not(missingForPrevented(seen).length, 0, `${name}: the missing condition is named`);
  }
  const unfinished: Observation = { ...prevented, aftermath: null };
  t.match(missingForPrevented(unfinished), ['the aftermath did not finish']);
  t.end();
});

t.test('I10: a virtual key is the one at the fault; evicted, the image is closed by its access', (t) => {
  const virtual: Observation = { ...prevented, keys: 'virtual' };
  const evicted = { ...fault, siCode: 2, siCodeName: 'SEGV_ACCERR', pkey: null, spaceKey: 0 };
  t.equal(judge(virtual).verdict, 'prevented');
  t.equal(judge({ ...virtual, fault: { ...fault, spaceMoves: 3 } }).verdict, 'prevented');
  t.equal(judge({ ...virtual, fault: evicted }).verdict, 'prevented');
  t.equal(judge({ ...virtual, fault: { ...fault, pkey: 0, spaceKey: 0 } }).verdict, 'prevented', 'evicted meanwhile');
  t.equal(judge({ ...virtual, fault: { ...fault, pkey: 4 } }).verdict, 'trapped', 'never its key');
  t.equal(judge({ ...virtual, fault: { ...evicted, spaceKey: 3 } }).verdict, 'trapped', 'resident all the time');
  t.equal(judge({ ...prevented, fault: evicted }).verdict, 'trapped', 'an ordinary key');
  t.end();
});

t.test('Windows: an access violation in a space is what a closed page is told by; other exceptions are not', (t) => {
  const violation = {
    ...fault,
    signal: 'EXCEPTION_ACCESS_VIOLATION',
    siCode: -1073741819,
    siCodeName: '0xC0000005',
    pkey: null,
    spaceKey: 0,
  };
  const seen: Observation = { ...prevented, mechanism: 'mprotect-range', fault: violation };
  t.equal(judge(seen).verdict, 'prevented');
  t.equal(judge({ ...seen, fault: { ...violation, space: null, spaceKey: null } }).verdict, 'trapped');
  t.equal(
    judge({ ...seen, fault: { ...violation, signal: 'EXCEPTION_IN_PAGE_ERROR', siCode: -1073741818 } }).verdict,
    'trapped',
  );
  t.equal(judge({ ...seen, mechanism: 'pkeys' }).verdict, 'trapped', 'there are no keys');
  t.equal(judge({ ...seen, mechanism: 'flag' }).verdict, 'trapped');
  t.end();
});

t.test('a read of a space whose reads are denied is prevented too', (t) => {
  t.equal(judge({ ...prevented, deny: 'access', fault: { ...fault, access: 'read' } }).verdict, 'prevented');
  t.end();
});

t.test('damage is announced when a fault was raised, else silent', (t) => {
  const diff = {
    changedBytes: 3,
    ranges: [{ space: 'eden', offset: 4, bytes: 3 }],
    heap: { sound: false, text: 'broken' },
  };
  t.match(judge({ ...prevented, diff }), { verdict: 'damaged', announced: true });
  t.match(judge({ ...prevented, diff, fault: null }), { verdict: 'damaged', announced: false });
  t.end();
});

t.test('a time limit passed is hung, wherever it was', (t) => {
  const late: ProcessEvidence = {
    ...exampleProcess,
    exitCode: null,
    signal: 'SIGKILL',
    timedOut: true,
    imageAtDeath: 'equal',
  };
  t.match(judge({ ...prevented, fault: null, diff: null, aftermath: null, process: { ...late, stage: 'set up' } }), {
    verdict: 'hung',
    because: /in the callout/,
  });
  t.match(judge({ ...prevented, diff: null, aftermath: null, process: { ...late, stage: 'called' } }), {
    verdict: 'hung',
    because: /in the aftermath/,
  });
  t.end();
});

t.test('a death is crashed, with what the image looked like', (t) => {
  const dead: ProcessEvidence = {
    ...exampleProcess,
    exitCode: null,
    signal: 'SIGSEGV',
    stage: 'set up',
    imageAtDeath: 'differs',
    changedBytesAtDeath: 8,
  };
  t.match(judge({ ...prevented, fault: null, diff: null, aftermath: null, process: dead }), {
    verdict: 'crashed',
    because: /SIGSEGV; 8 bytes of the image differed/,
  });
  t.match(
    judge({
      ...prevented,
      fault: null,
      diff: null,
      aftermath: null,
      process: { ...dead, signal: null, exitCode: 0, imageAtDeath: 'equal' },
    }),
    { verdict: 'crashed', because: /exited with code 0 before/ },
    'exit() by the callee is no success',
  );
  t.end();
});

t.test('a refusal by the kernel, a disclosure, and nothing at all', (t) => {
  t.equal(judge({ ...prevented, fault: null, errno: 'EFAULT' }).verdict, 'refused');
  t.equal(judge({ ...prevented, fault: null, errno: 'ENOENT' }).verdict, 'harmless');
  t.equal(judge({ ...prevented, fault: null, disclosed: true }).verdict, 'disclosed');
  t.match(judge({ ...prevented, fault: null, inapplicable: 'no io_uring here' }), {
    verdict: 'harmless',
    because: 'no io_uring here',
  });
  t.end();
});

t.test('of an image that nobody compared, nobody says that it is equal', (t) => {
  for (const more of [
    { fault: null },
    { fault: null, errno: 'EFAULT' },
    {},
    { aftermath: [{ step: 'allocation', ok: false, detail: 'hm' }] },
  ]) {
    const { because } = judge({ ...prevented, diff: null, ...more });
    t.match(because, /image not compared/);
    t.notMatch(because, /image equal/);
  }
  t.end();
});
