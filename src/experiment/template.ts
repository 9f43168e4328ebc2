/** A new case to begin with: compiles and runs as it is. docs/cases.md tells what to change. */
import { existsSync, writeFileSync } from 'node:fs';

import { ExperimentError } from '../record/errors.js';
import { inProject } from '../record/paths.js';
import { CASE_GROUPS, caseFile } from '../record/words.js';

/** The file's text: one wild store, as the simplest case there is. Pure. */
export function caseTemplate(name: string): string {
  return `/**
 * TODO: what do you want to know?
 *
 * Stands for TODO: the real bug, where it was met. The callee makes one 8-byte store to a place in 'old'.
 * Varies: mechanism. Records: bytes changed, the fault.
 */
import { expectStore, type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '${name}: one 8-byte store into old space',
  // What should happen under each mechanism, and why. Most cases are one of the expect... functions of expectations.ts.
  expected: (setting) => expectStore(setting),
  run(trial) {
    const store = trial.foreign('void foreign_write64(uint64_t address, uint64_t value)');
    store(trial.addressIn('old'), 0x4141414141414141n);
  },
};
`;
}

/**
 * Writes experiments/corruption/stray-writes/NAME.ts: move it to the folder of its group.
 * @returns its path
 * @throws ExperimentError for a name that is none, or is taken
 */
export function writeCase(name: string): string {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    throw new ExperimentError(`'${name}' is no name for a case: small letters, digits and hyphens, e.g. wild-write`);
  for (const group of CASE_GROUPS) {
    const taken = inProject(caseFile(group, name));
    if (existsSync(taken)) throw new ExperimentError(`there is a case '${name}' already: ${taken}`);
  }
  const path = inProject(caseFile('stray writes', name));
  writeFileSync(path, caseTemplate(name), { flag: 'wx' });
  return path;
}
