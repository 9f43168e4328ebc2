/**
 * Everything that a report says of a run, computed once: the answer, the picture, every table, every chart, the
 * evidence. html/, markdown.ts, terminal.ts and csv.ts draw it. A pure function of the run.
 */
import type { ProgramTable } from '../../record/programs.js';
import type { Run } from '../../record/records.js';
import { aftermathTable } from './aftermath.js';
import { answerOf, type Sentence } from './answer.js';
import { type Basis, basisOf } from './basis.js';
import { environmentTable, methodTable } from './context.js';
import { costSections } from './cost-sections.js';
import { type CellEvidence, evidenceOf } from './evidence.js';
import { matrices, spacesSeen, spacesTable, totalsTable } from './matrix.js';
import { honestTable, skippedTable, type Surprise, surprises } from './outcomes.js';
import { type Picture, pictureOf } from './picture.js';
import { programsSection } from './programs.js';
import { cellsOf } from './records.js';
import { type Section, section, tables, tablesIn, text } from './sections.js';
import type { Table } from './table.js';
import { type WarningFinding, warningLine, warningsOf } from './warnings.js';

export interface Findings {
  readonly run: Run;
  readonly basis: Basis;
  readonly title: string;
  readonly answer: readonly Sentence[];
  readonly picture: Picture;
  readonly surprises: readonly Surprise[];
  readonly warnings: readonly WarningFinding[];
  /** All but the answer and the picture, in order. */
  readonly sections: readonly Section[];
  /** All evidence of the matrix's cells. */
  readonly evidence: readonly CellEvidence[];
  /** All tables: the picture's, then those of the sections. */
  readonly tables: readonly Table[];
}

function surprisesSection(found: readonly Surprise[]): readonly Section[] {
  return section('surprises', found.length === 0 ? 'No surprises' : `Surprises (${found.length})`, [
    text(
      found.length === 0
        ? 'Every verdict was an expected one, honest work gave the same bytes, and nothing broke that ' +
            'should have worked.'
        : 'What was not as expected comes first.',
    ),
    ...(found.length === 0 ? [] : [{ kind: 'surprises', surprises: found } as const]),
  ]);
}

function matrixSection(basis: Basis): readonly Section[] {
  const { run } = basis;
  const all = matrices(run);
  if (all.length === 0) return [];
  return section('matrix', 'Which corruptions are stopped', [
    ...(cellsOf(run).length === 0 ? [] : [{ kind: 'verdicts' } as const]),
    ...tables(...all, totalsTable(run), aftermathTable(basis)),
  ]);
}

function honestSection(run: Run): readonly Section[] {
  const table = honestTable(run);
  if (table.rows.length === 0) return [];
  return section('honest', 'Honest work', [
    text(
      'Correct libraries, doing real work: the bytes must not depend on the mechanism, and the image must ' +
        'come back equal.',
    ),
    ...tables(table),
  ]);
}

function spacesSection(run: Run): readonly Section[] {
  const table = spacesTable(spacesSeen(run));
  if (table.rows.length === 0) return [];
  return section('spaces', 'The image and its keys', [
    text([
      'Under ',
      { code: 'pkeys' },
      ', each of these pages carries a key whose write right is taken away while foreign code runs. Key ' +
        'numbers are as the kernel reported them with faults; they may differ between runs.',
    ]),
    ...tables(table),
  ]);
}

function warningsSection(warnings: readonly WarningFinding[]): readonly Section[] {
  if (warnings.length === 0) return [];
  return section('warnings', 'Warnings', [
    text('What makes a figure less than it could be, and what to do about it.'),
    { kind: 'list', items: warnings.map(warningLine) },
  ]);
}

function skippedSection(run: Run): readonly Section[] {
  const table = skippedTable(run);
  if (table.rows.length === 0) return [];
  return section('skipped', 'Skipped', [text('What could not be tried, and why.'), ...tables(table)]);
}

/** Works out all that a report says. @param programs what it says of programs that were never ported */
export function findings(run: Run, programs: readonly ProgramTable[] = []): Findings {
  const basis = basisOf(run);
  const picture = pictureOf(basis);
  const found = surprises(run);
  const warnings = warningsOf(run);
  const sections = [
    ...surprisesSection(found),
    ...matrixSection(basis),
    ...programsSection(programs),
    ...honestSection(run),
    ...costSections(basis),
    ...spacesSection(run),
    ...section('environment', 'Environment', tables(environmentTable(run))),
    ...section('method', 'Method', tables(methodTable(basis))),
    ...warningsSection(warnings),
    ...skippedSection(run),
  ];
  return {
    run,
    basis,
    title: 'What do protection keys prevent around foreign calls, and what do they cost?',
    answer: answerOf(basis),
    picture,
    surprises: found,
    warnings,
    sections,
    evidence: cellsOf(run).map(evidenceOf),
    tables: [...picture.tables, ...tablesIn(sections)],
  };
}
