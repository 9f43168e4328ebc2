/** What a run's report tells of beside its experiments: guarded programs, and the campaign in its directory. */
import type { GuardReport } from '../guard/index.js';
import type { Answers } from '../report/files.js';
import { readGuardReport } from './guard.js';
import type { StepFailure } from './progress.js';
import { campaignAnswers } from './report.js';

export interface Beside {
  readonly guarded: readonly GuardReport[];
  readonly answers: Answers;
  /** What could not be read. It is left out of the report, which the experiments get all the same. */
  readonly failures: readonly StepFailure[];
}

/** Reads it, before the experiments: what takes long is not lost to a file. */
export async function readBeside(directory: string, files: readonly string[]): Promise<Beside> {
  const guarded: GuardReport[] = [];
  const failures: StepFailure[] = [];
  for (const file of files)
    try {
      guarded.push(readGuardReport(file));
    } catch (error) {
      failures.push({ title: 'a guarded program', error });
    }
  let answers: Answers = [];
  try {
    answers = await campaignAnswers(directory);
  } catch (error) {
    failures.push({ title: 'the campaign beside this run', error });
  }
  return { guarded, answers, failures };
}
