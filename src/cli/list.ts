/** `turnkey list`: what there is to run. */
import { loadCatalogue } from '../experiment/catalogue.js';
import { GUARD_MECHANISMS } from '../record/words.js';

export const FAMILIES = ['corruption', 'honest', 'cost'] as const;
export type FamilyName = (typeof FAMILIES)[number];

/** Writes names and summaries of all experiments to stdout, as text or as JSON. */
export async function listExperiments(json: boolean): Promise<void> {
  const catalogue = await loadCatalogue();
  if (json) {
    const plain = FAMILIES.flatMap((family) =>
      catalogue[family].map(({ name, experiment }) => ({
        family,
        name,
        summary: experiment.summary,
        ...('group' in experiment ? { group: experiment.group } : {}),
      })),
    );
    process.stdout.write(`${JSON.stringify(plain, null, 1)}\n`);
    return;
  }
  for (const family of FAMILIES) {
    process.stdout.write(`${family}\n`);
    const width = Math.max(...catalogue[family].map(({ name }) => name.length));
    for (const { name, experiment } of catalogue[family])
      process.stdout.write(`  ${name.padEnd(width)}  ${experiment.summary}\n`);
  }
  process.stdout.write(`mechanisms\n  ${GUARD_MECHANISMS.join(', ')}\n`);
}
