/**
 * Records of trials, from what their processes printed: one for each trial, then one for each cell. Pure. The verdict
 * is that of verdict.ts.
 */
import { expectedOf } from '../experiment/hardened.js';
import { parseOutput, processEvidence, type TrialOutput } from '../experiment/protocol.js';
import { withoutRoot } from '../record/paths.js';
import type { CorruptionRecord, Evidence, HonestRecord, SkippedRecord } from '../record/records.js';
import type { Verdict } from '../record/words.js';
import type { ExecResult } from './executor.js';
import type { PlannedCorruption, PlannedHonest, PlannedTrial } from './plan.js';
import { isUnstable, judge } from './verdict.js';

function skip(trial: PlannedTrial, reason: string): SkippedRecord {
  return {
    kind: 'skipped',
    of: trial.kind,
    name: trial.name,
    mechanism: trial.mechanism,
    lane: trial.lane,
    reason: withoutRoot(reason),
    broken: true,
  };
}

/** Why a trial's output says nothing about its case; undefined where it does. */
function brokenBy(output: TrialOutput, result: ExecResult): string | undefined {
  if (result.lost !== null) return `the lane broke down: ${result.lost}`;
  if (output.failed !== null) return `the trial could not be set up: ${output.failed.reason}`;
  if (result.timedOut && output.watch === null) return 'the tracing runner did not come back';
  if (output.watch === null)
    return (
      `no report from the tracing runner (exit code ${result.exitCode ?? 'none'}): ` +
      (result.stderr.trim().split('\n').pop() ?? '')
    );
  if (output.setUp === null && output.watch.timedOut)
    return 'the trial was not ready for its callout in time: this machine is too busy';
  if (output.setUp === null) {
    return (
      'the trial died before it was set up ' +
      `(${output.watch.signal ?? `exit code ${output.watch.exitCode ?? 'unknown'}`}): ` +
      result.stderr.trim().split('\n').slice(-2).join(' ')
    );
  }
  return undefined;
}

/** One trial's record from what its process printed; `job`: which of a warm host's it was. Pure. */
export function corruptionRecord(
  trial: PlannedCorruption,
  result: ExecResult,
  job?: number,
): CorruptionRecord | SkippedRecord {
  const output = parseOutput(result.stdout, job);
  const broken = brokenBy(output, result);
  if (broken !== undefined) return skip(trial, broken);
  const process = processEvidence(output, withoutRoot(result.stderr));
  const finished = process.stage === 'finished' ? output.finished : null;
  const judgement = judge({
    mechanism: trial.mechanism,
    deny: trial.deny,
    keys: trial.keys,
    vmModules: output.setUp?.vmModules ?? [],
    inapplicable: output.called?.inapplicable ?? null,
    fault: output.called?.fault ?? null,
    errno: output.called?.errno ?? null,
    disclosed: output.called?.disclosed ?? false,
    keptOut: output.called?.keptOut ?? null,
    diff: output.finished?.diff ?? null,
    canaries: output.finished?.canaries ?? [],
    aftermath: finished?.aftermath ?? null,
    process,
  });
  const expected = expectedOf(trial.experiment, trial);
  const evidence: Evidence = {
    because: judgement.because,
    missing: judgement.missing,
    fault: output.called?.fault ?? null,
    answer: output.called?.answer ?? null,
    errno: output.called?.errno ?? null,
    diff: output.finished?.diff ?? null,
    ...(output.finished?.restored === undefined ? {} : { restored: output.finished.restored }),
    canaries: output.finished?.canaries ?? [],
    aftermath: output.finished?.aftermath ?? [],
    process,
    notes: [
      ...(output.called?.notes ?? []),
      ...(output.called?.keptOut == null ? [] : [withoutRoot(output.called.keptOut)]),
    ],
  };
  return {
    kind: 'corruption',
    case: trial.name,
    group: trial.experiment.group,
    mechanism: trial.mechanism,
    lane: trial.lane,
    deny: trial.deny,
    keys: trial.keys,
    ...(trial.harden === undefined ? {} : { harden: trial.harden }),
    summary: trial.experiment.summary,
    ...(trial.experiment.remedy === undefined ? {} : { remedy: trial.experiment.remedy }),
    expected,
    verdict: judgement.verdict,
    ...(judgement.announced === undefined ? {} : { announced: judgement.announced }),
    surprise: !expected.verdicts.includes(judgement.verdict),
    unstable: false,
    repetitions: [judgement.verdict],
    seed: trial.seed,
    evidence,
  };
}

/** One honest trial's record; `same` or `differs` is found when all are there (compareHonest). Pure. */
export function honestRecord(trial: PlannedHonest, result: ExecResult): HonestRecord | SkippedRecord {
  const output = parseOutput(result.stdout);
  const broken = output.failed === null ? brokenBy(output, result) : undefined;
  const base = {
    kind: 'honest',
    case: trial.name,
    mechanism: trial.mechanism,
    lane: trial.lane,
    ...(trial.harden === undefined ? {} : { harden: trial.harden }),
  } as const;
  const none = { sha256: null, bytes: null, callouts: null, imageEqual: null } as const;
  if (broken !== undefined) return skip(trial, broken);
  if (output.failed !== null) return { ...base, ...none, outcome: 'failed', detail: output.failed.reason };
  const message = output.honest.find((answer) => answer.case === trial.name);
  const process = processEvidence(output, withoutRoot(result.stderr));
  if (process.timedOut) return { ...base, ...none, outcome: 'failed', detail: 'past its time limit' };
  if (message === undefined || process.exitCode !== 0) {
    return {
      ...base,
      ...none,
      outcome: 'failed',
      detail:
        `the process ended with ${process.signal ?? `exit code ${process.exitCode ?? 'unknown'}`}: ` + process.stderr,
    };
  }
  const { sha256, bytes, callouts, imageEqual } = message;
  return {
    ...base,
    outcome: 'same',
    sha256,
    bytes,
    callouts,
    imageEqual,
    detail: imageEqual ? '' : 'the image was changed by honest work',
  };
}

/**
 * Settles honest records against the first that has bytes, per case, over all lanes: it becomes the reference. Pure.
 */
export function compareHonest(records: readonly HonestRecord[]): readonly HonestRecord[] {
  const references = new Map<string, HonestRecord>();
  return records.map((record) => {
    if (record.sha256 === null) return record;
    const reference = references.get(record.case);
    if (reference === undefined) {
      references.set(record.case, record);
      return { ...record, outcome: 'reference' as const };
    }
    if (record.sha256 === reference.sha256) return { ...record, outcome: 'same' as const };
    return {
      ...record,
      outcome: 'differs' as const,
      detail: `not the bytes of ${reference.mechanism} in the ${reference.lane} lane`,
    };
  });
}

/** Joins the repetitions of each cell: the first one's evidence, everybody's verdict. Pure. */
export function joinRepetitions(records: readonly CorruptionRecord[]): readonly CorruptionRecord[] {
  const cells = new Map<string, CorruptionRecord[]>();
  for (const record of records) {
    const cell = JSON.stringify([record.case, record.mechanism, record.lane, record.deny, record.keys, record.harden]);
    cells.set(cell, [...(cells.get(cell) ?? []), record]);
  }
  return [...cells.values()].flatMap((cell) => {
    const [first] = cell;
    if (first === undefined) return [];
    const repetitions: readonly Verdict[] = cell.flatMap((record) => record.repetitions);
    return [
      { ...first, repetitions, unstable: isUnstable(repetitions), surprise: cell.some((record) => record.surprise) },
    ];
  });
}
