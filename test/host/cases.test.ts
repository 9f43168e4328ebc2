/**
 * Bad callouts of unported programs, by scripts/host-cases.mjs: two cases in CPython and in Node, with the verdicts'
 * evidence.
 * Broken once: another signal code taken for the mechanism's (SEGV_MAPERR).
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import { ownFolder } from '../support/turnkey.js';

interface Trial {
  readonly case: string;
  readonly mechanism: string;
  readonly verdict: string;
  readonly saw?: {
    readonly right: boolean;
    readonly changed: number;
    readonly error: { readonly code: string } | null;
  };
}

const FILE = join(ownFolder(), 'trials.json');
const VERDICTS = {
  'object-store': { none: 'damaged', 'mprotect-range': 'prevented' },
  'null-pointer': { none: 'crashed', 'mprotect-range': 'trapped' },
} as const;
const python = spawnSync('/usr/bin/python3', ['-c', 'import ctypes, zlib']).status === 0;

for (const [host, there] of [
  ['node', true],
  ['cpython', python],
] as const)
  t.test(`a stray store and a null pointer in ${host}`, { skip: there ? false : 'no /usr/bin/python3' }, (t) => {
    const words = ['--case', Object.keys(VERDICTS).join(), '--mechanism', 'none,mprotect-range', '--times', '1'];
    const script = inProject('scripts/host-cases.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, '--host', host, ...words, '--json', FILE], {
      encoding: 'utf8',
    });
    t.equal(status, 0, stderr);
    const trials = JSON.parse(readFileSync(FILE, 'utf8')) as readonly Trial[];
    const found = (name: string, mechanism: string): Trial | undefined =>
      trials.find((trial) => trial.case === name && trial.mechanism === mechanism);
    for (const [name, verdicts] of Object.entries(VERDICTS))
      for (const [mechanism, verdict] of Object.entries(verdicts))
        t.equal(found(name, mechanism)?.verdict, verdict, `${name} under ${mechanism}`);
    t.match(found('object-store', 'mprotect-range')?.saw, { right: true, changed: 0, error: { code: 'SEGV_ACCERR' } });
    t.match(found('object-store', 'none')?.saw, { right: false, changed: 8, error: null });
    t.end();
  });
