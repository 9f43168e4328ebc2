/**
 * The recorded runs of hardened guards hold what docs/hardening.md claims of them. Under keys alone some cells of three
 * groups are damaged. With everything on, each of these is prevented, refused or trapped; or docs/limits.md names its
 * case among what is left, with a reason, and docs/hardening.md says what is left to it.
 *
 * Broken once, each: a record of pkeys+all taken out; a row taken out of the table in docs/limits.md; the word of a
 * verdict in a record changed from refused to damaged.
 */
import { readFileSync } from 'node:fs';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import type { CorruptionRecord } from '../../src/record/records.js';
import { readRun } from '../../src/record/store.js';
import type { CaseGroup, Verdict } from '../../src/record/words.js';
import { cellsOf, corruptionOf } from '../../src/report/findings/records.js';

const GROUPS: readonly CaseGroup[] = ['through the kernel', 'undoing protection', 'control flow'];
const HELD: readonly Verdict[] = ['prevented', 'refused', 'trapped'];
/** Each seals by itself, and says what that does; the variants do the same for the cases that they are named for. */
const OWN_SEAL = 'sealed-';

const cells = (name: string): readonly CorruptionRecord[] =>
  cellsOf(readRun(inProject(`results/${name}`))).filter(
    ({ group, mechanism }) => GROUPS.includes(group) && mechanism === 'pkeys',
  );
const limits = readFileSync(inProject('docs/limits.md'), 'utf8');
const hardening = readFileSync(inProject('docs/hardening.md'), 'utf8');

/** The row of a case in the table of what is left, as its cells. */
function leftRow(name: string): readonly string[] | undefined {
  const section = /## When everything is on\n([^]*?)\n## /.exec(limits)?.[1] ?? '';
  const line = section.split('\n').find((text) => text.startsWith(`| [${name}](`));
  return line?.split(' | ').map((cell) => cell.replaceAll(/^\| | \|$/g, '').trim());
}

/** Cases that are damaged under keys as they are, by the record itself or by the whole matrix under that kernel. */
function damagedCases(records: readonly CorruptionRecord[]): ReadonlySet<string> {
  const matrix = corruptionOf(readRun(inProject('results/reference-6.12'))).filter(
    ({ group, mechanism, deny, keys }) =>
      GROUPS.includes(group) && mechanism === 'pkeys' && deny === 'write' && keys === 'image',
  );
  const plain = records.filter(({ harden }) => harden === undefined);
  return new Set(
    [...matrix, ...plain].flatMap(({ case: name, verdict }) =>
      verdict === 'damaged' && !name.startsWith(OWN_SEAL) ? [name] : [],
    ),
  );
}

for (const run of ['reference-hardened', 'reference-hardened-7.2']) {
  t.test(`${run}: with everything on, what keys alone leave damaged is stopped, or named with its reason`, (t) => {
    const records = cells(run);
    for (const name of damagedCases(records)) {
      const all = records.find((record) => record.case === name && record.harden === 'all');
      t.ok(all !== undefined, `${name} was tried with everything on`);
      if (all === undefined) continue;
      const row = leftRow(name);
      if (all.evidence.fault?.siCodeName === 'TRAP_PERF')
        t.match(row?.[3], /only where perf_event_open is allowed/, `${name} is stopped by a breakpoint alone`);
      if (HELD.includes(all.verdict)) continue;
      t.ok(row !== undefined, `docs/limits.md names ${name}, which is ${all.verdict} with everything on`);
      t.not(row?.[3] ?? '', '', `docs/limits.md says why ${name} is left`);
      t.ok(hardening.includes(`[${name}](`), `docs/hardening.md says what is left to ${name}`);
    }
    t.end();
  });

  t.test(`${run}: each group was tried with everything on, and nothing there was a surprise`, (t) => {
    const all = cells(run).filter(({ harden }) => harden === 'all');
    for (const group of GROUPS) t.ok(all.filter((record) => record.group === group).length > 20, group);
    t.same(
      all.filter(({ surprise }) => surprise).map(({ case: name }) => name),
      [],
    );
    t.end();
  });
}
