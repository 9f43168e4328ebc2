/**
 * The catalogue of corruptions: what every case's file must have, and the text made of it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { loadCatalogue } from '../../src/experiment/catalogue.js';
import { cannotHarden, expectedOf } from '../../src/experiment/hardened.js';
import { type CorruptionCase, kernelSince, type Setting } from '../../src/experiment/index.js';
import { PROJECT_ROOT } from '../../src/record/paths.js';
import type { CorruptionRecord, Run } from '../../src/record/records.js';
import {
  CASE_GROUPS,
  caseFile,
  DENIALS,
  GUARD_MECHANISMS,
  HARDENED,
  isGuardMechanism,
  KEY_MODES,
  needsKeys,
  VERDICTS,
} from '../../src/record/words.js';
import { renderLimits } from '../../src/report/limits.js';
import { makePlan, variantsOf } from '../../src/run/plan.js';
import { exampleCorruption, exampleRun } from '../support/example-run.js';

const { corruption } = await loadCatalogue();

/** Every setting that a case may be asked about. */
const settings: readonly Setting[] = GUARD_MECHANISMS.flatMap((mechanism) =>
  DENIALS.flatMap((deny) =>
    KEY_MODES.flatMap((keys) =>
      (['native', 'emulated'] as const).flatMap((lane) =>
        ['6.1.0', '6.12.0'].map((kernel) => ({ mechanism, deny, keys, lane, kernel, keysHere: lane === 'emulated' })),
      ),
    ),
  ),
);

t.test('every case says what it stands for, what is expected where, and why', (t) => {
  for (const { name, experiment } of corruption) {
    const source = readFileSync(join(PROJECT_ROOT, caseFile(experiment.group, name)), 'utf8');
    const docstring = /^\/\*\*\n((?: \*.*\n)+?) \*\//.exec(source)?.[1] ?? '';
    t.match(docstring, /\?\n/, `${name}: the docstring asks a question`);
    t.match(docstring, /Stands for/, `${name}: it names the real bug`);
    t.match(docstring, /Varies: [^]*Records: /, `${name}: it says what varies and what is recorded`);
    t.ok(CASE_GROUPS.includes(experiment.group), `${name}: its group is one of the list`);
    t.ok(experiment.summary.length > 5 && !experiment.summary.endsWith('.'), `${name}: it has a summary`);
    for (const setting of settings) {
      if (experiment.skip?.(setting) !== undefined) continue;
      const { verdicts, why } = experiment.expected(setting);
      if (verdicts.length === 0 || why === '' || !verdicts.every((verdict) => VERDICTS.includes(verdict)))
        t.fail(`${name} has no expectation`, { setting });
    }
  }
  t.end();
});

t.test('versions of kernels are compared by number; one that is not known yet rules nothing out', (t) => {
  t.same(
    ['6.1.0-56-cloud-amd64', '6.9', '6.10.0', '6.12.117+deb13', '7.0', '5.15', ''].map((kernel) =>
      kernelSince(kernel, 6, 10),
    ),
    [false, false, true, true, true, false, true],
  );
  t.end();
});

t.test('no two cases have the same name or the same summary', (t) => {
  t.equal(new Set(corruption.map(({ name }) => name)).size, corruption.length);
  const seen = new Map<string, string>();
  for (const { name, experiment } of corruption) {
    t.notOk(seen.has(experiment.summary), `${name} and ${seen.get(experiment.summary) ?? 'no other'}`);
    seen.set(experiment.summary, name);
  }
  t.end();
});

t.test('the kinds of stray writes, reads, open memory, allocator and control flow are all there', (t) => {
  const count = (group: string): number => corruption.filter(({ experiment }) => experiment.group === group).length;
  for (const [group, least] of [
    ['stray writes', 35],
    ['reads', 5],
    ['left open', 5],
    ['allocator', 3],
    ['control flow', 20],
  ] as const) {
    t.ok(count(group) >= least, `${group}: ${count(group)}`);
    t.ok(
      corruption.some(({ experiment }) => experiment.group === group && experiment.quick !== undefined),
      `${group}: one is in the quick set`,
    );
  }
  t.end();
});

t.test('a case that keys leave open says what would stop it', (t) => {
  for (const { name, experiment } of corruption) {
    for (const setting of settings.filter(({ mechanism }) => needsKeys(mechanism))) {
      const { verdicts } = experiment.expected(setting);
      if (experiment.skip?.(setting) !== undefined) continue;
      if (verdicts.some((verdict) => ['damaged', 'host-damaged', 'disclosed', 'crashed', 'hung'].includes(verdict))) {
        if (experiment.remedy === undefined) t.fail(`${name} (${verdicts.join(', ')}) has no remedy`, { setting });
        break;
      }
    }
  }
  t.end();
});

t.test('reads are tried with both denials, and keys per image and per space', (t) => {
  const named = (name: string) => corruption.find((one) => one.name === name)?.experiment;
  const read = named('stray-read');
  const write = named('wild-write');
  if (read === undefined || write === undefined) throw new Error('the catalogue lacks its first cases');
  t.same(
    variantsOf(read, 'mprotect-range', {}).map(({ deny }) => deny),
    ['write', 'access'],
  );
  t.same(variantsOf(write, 'mprotect-range', {}), [{ deny: 'write', keys: 'image' }]);
  t.same(variantsOf(write, 'pkeys', {}), [
    { deny: 'write', keys: 'image' },
    { deny: 'access', keys: 'image' },
    { deny: 'write', keys: 'space' },
  ]);
  t.same(variantsOf(write, 'pkeys', { deny: 'access' }), [{ deny: 'access', keys: 'image' }]);
  t.ok(isGuardMechanism('pkeys'));
  t.end();
});

t.test('cases about virtual keys have virtual keys, and are skipped with a reason where there can be none', (t) => {
  const found = corruption.find((one) => one.name === 'evicted-stranger')?.experiment;
  if (found === undefined) throw new Error('the catalogue lacks evicted-stranger');
  t.same(variantsOf(found, 'pkeys', { keys: 'space', deny: 'access', harden: ['filter'] }), [
    { deny: 'access', keys: 'virtual' },
    { deny: 'access', keys: 'virtual', harden: 'filter' },
  ]);
  const lane = { lane: 'emulated', keys: true, keysReason: null, kernel: '6.12' } as const;
  const only = (_: string, name: string): boolean => name === 'evicted-stranger';
  const options = { lanes: [lane], seed: 1, repeat: 1, quickCosts: true, cores: 1, only };
  const all = { corruption, honest: [], cost: [] };
  const plan = makePlan(all, { ...options, mechanisms: ['none', 'pkeys', 'pkeys-glibc'], harden: ['filter', 'seal'] });
  t.same(
    plan.trials.map(({ mechanism, keys, harden }) => [mechanism, keys, harden]),
    [
      ['none', 'virtual', undefined],
      ['pkeys', 'virtual', undefined],
      ['pkeys', 'virtual', 'filter'],
    ],
  );
  t.match(plan.skipped, [{ name: 'evicted-stranger', mechanism: 'pkeys-glibc', reason: /pkey_set/ }]);
  t.end();
});

const limited = (more: Partial<CorruptionRecord>): CorruptionRecord => ({ ...exampleCorruption, ...more });
const runOf = (...records: readonly CorruptionRecord[]): Run => ({ ...exampleRun, records });

t.test('limits: what keys stopped is not told, what they did not is, with its reason, its remedy and its case', (t) => {
  const text = renderLimits(
    runOf(
      limited({ case: 'stopped' }),
      limited({
        case: 'remapped',
        verdict: 'damaged',
        summary: 'mmap over the image',
        remedy: { kinds: ['seal'], text: 'Sealing.' },
        expected: { verdicts: ['damaged'], why: 'a new mapping has key 0' },
      }),
      limited({ case: 'remapped', mechanism: 'flag', verdict: 'damaged', announced: true }),
    ),
    { sources: '../' },
  );
  t.match(
    text,
    /\| \[remapped\]\(\.\.\/experiments\/corruption\/stray-writes\/remapped\.ts\) \| mmap over the image \| damaged, silently: `pkeys` \| a new mapping has key 0 \| damaged, announced: `flag` \| Sealing\. \|/,
  );
  t.notMatch(text, /stopped/);
  t.match(text, /\*\*Sealing\*\* \(\[remapped\]/);
  t.end();
});

t.test('limits: surprises are told as such, with what was seen in place of what was expected', (t) => {
  const text = renderLimits(
    runOf(
      limited({
        case: 'odd',
        verdict: 'hung',
        surprise: true,
        evidence: { ...exampleCorruption.evidence, because: 'past the time limit' },
      }),
    ),
  );
  t.match(text, /hung \(not expected\)/);
  t.match(text, /past the time limit/);
  t.notMatch(text, /the key denies writes/);
  t.end();
});

t.test('limits: a store that needs a right but changes nothing is told as stopped though harmless', (t) => {
  const text = renderLimits(
    runOf(
      limited({ case: 'compare', summary: 'a comparison that fails' }),
      limited({ case: 'compare', mechanism: 'none', verdict: 'harmless' }),
    ),
  );
  t.match(text, /## Stopped though harmless[^]*`compare`: a comparison that fails\./);
  t.end();
});

t.test('limits: a run without keys says that it shows nothing', (t) => {
  t.match(renderLimits(runOf(limited({ mechanism: 'flag', verdict: 'damaged' }))), /no trial under keys/);
  t.end();
});

t.test(
  'limits.md: what hardening was seen to do stands in each row, and what all of it leaves open in a table',
  (t) => {
    const open = { case: 'remapped', verdict: 'damaged', expected: { verdicts: ['damaged'], why: 'why not' } } as const;
    const hardened = runOf(
      limited({ ...open, harden: 'filter', verdict: 'refused' }),
      limited({ ...open, harden: 'all', verdict: 'refused' }),
      limited({ ...open, case: 'jumped', harden: 'all', remedy: { kinds: ['process'], text: 'Another process.' } }),
    );
    const text = renderLimits(runOf(limited(open)), { hardened });
    t.match(text, /\| `remapped` \| [^\n]* \| refused: `pkeys\+filter`, `pkeys\+all` \|/);
    const all = text.slice(text.indexOf('## When everything is on'), text.indexOf('## What would help'));
    t.match(
      all.replaceAll('\n', ' '),
      /2 cases were tried under keys \(emulated lane\) [^]*: 1 refused, 1 damaged\. These are left; what was not expected/,
    );
    t.match(all, /\| `jumped` \| [^|]* \| damaged, silently: `pkeys\+all` \| why not \| Another process\. \|/);
    t.notMatch(all, /`remapped`/);
    t.match(all, /, run of \S+, commit \S+\): /);
    t.end();
  },
);

t.test('limits.md: what only a breakpoint stops is left, and a run in parts names no one commit for all', (t) => {
  // Broken once: another code than TRAP_PERF asked for.
  const { fault } = exampleCorruption.evidence;
  if (fault === null) throw new Error('the example has no fault');
  const caught = limited({
    case: 'watched',
    harden: 'all',
    verdict: 'trapped',
    evidence: { ...exampleCorruption.evidence, fault: { ...fault, signal: 'SIGTRAP', siCodeName: 'TRAP_PERF' } },
  });
  const whole = runOf(caught, limited({ case: 'held', harden: 'all', verdict: 'trapped' }));
  const hardened = {
    ...whole,
    context: {
      ...whole.context,
      lanes: whole.context.lanes.map((lane) => ({ ...lane, details: { parts: '1 cells of a; 1 cells of b' } })),
    },
  };
  const text = renderLimits(runOf(limited({})), { hardened, hardenedBeside: hardened });
  const [, all = '', elsewhere = ''] = text.split(/## When everything is on[^\n]*\n/);
  t.match(all, /recorded in 2 parts, see the report's environment\): 2 trapped\. These are left, or stopped on some/);
  t.match(all, /\| `watched` \| [^|]* \| trapped: `pkeys\+all` \| [^|]*only where perf_event_open is allowed/);
  t.notMatch(all, /`held`/);
  t.match(elsewhere, /recorded in 2 parts/);
  t.end();
});

t.test('hardened: a case says which filter refuses its call, and the search and the seal by its remedy', (t) => {
  const named = (name: string): CorruptionCase => {
    const found = corruption.find((one) => one.name === name)?.experiment;
    if (found === undefined) throw new Error(`the catalogue lacks ${name}`);
    return found;
  };
  const setting = {
    mechanism: 'pkeys',
    lane: 'emulated',
    deny: 'write',
    keys: 'image',
    keysHere: true,
    kernel: '6.12',
  } as const;
  const first = (name: string): readonly (string | undefined)[] =>
    HARDENED.map((harden) => expectedOf(named(name), { ...setting, harden }).verdicts[0]);
  t.same(HARDENED, ['filter', 'seccomp', 'seal', 'all']);
  t.same(first('unmap'), ['refused', 'refused', 'refused', 'refused']);
  t.same(first('proc-self-mem'), ['refused', 'damaged', 'damaged', 'refused']);
  t.same(first('wrpkru'), ['damaged', 'damaged', 'damaged', 'refused']);
  t.same(first('hostile-gate'), ['damaged', 'damaged', 'damaged', 'damaged']);
  t.match(cannotHarden({ harden: 'all', kernel: '6.1' }), /no mseal/);
  t.equal(cannotHarden({ harden: 'seccomp', kernel: '6.1' }), undefined);
  t.end();
});

t.test('limits.md: what another kernel does differently is named, cell by cell', (t) => {
  const one = runOf(
    limited({ case: 'same', verdict: 'damaged' }),
    limited({ case: 'other', verdict: 'damaged' }),
    limited({ case: 'alone', verdict: 'damaged' }),
  );
  const beside = runOf(
    limited({ case: 'same', verdict: 'damaged' }),
    limited({ case: 'other', verdict: 'crashed' }),
    limited({ case: 'newer', verdict: 'refused' }),
    limited({ case: 'newer', mechanism: 'none', verdict: 'damaged' }),
  );
  const text = renderLimits(one, { beside });
  t.match(text, /## Another kernel\n\n2 cells were tried/);
  t.match(text, /: 1 differ\./);
  t.match(text, /\| `other` \| [^|]* \| damaged[^|]* \| crashed[^|]* \|/);
  t.notMatch(text.slice(text.indexOf('## Another kernel')), /`same`|`alone`/);
  t.match(
    text,
    /Only under [^\n]*could be tried:\n[^]*\| `newer` \| [^|]* \| refused: `pkeys` \| [^|]* \| damaged, silently: `none` \|/,
  );
  t.notMatch(renderLimits(one, { beside: one }), /Only under/);
  t.match(renderLimits(one, { beside: one }), /all verdicts are the same/);
  t.end();
});
