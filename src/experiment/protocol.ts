/**
 * What a trial's process and its tracing runner say on standard output, and how it is read back.
 *
 * A trial prints lines `@trial {JSON}`, each with the stage it has reached, so that what it knew survives its death.
 * The runner (native/watch) prints `@watch {JSON}` last. Foreign code may print anything in between; lines without
 * these marks are ignored.
 */
import type {
  AftermathStep,
  CanaryEvidence,
  DiffEvidence,
  FaultEvidence,
  LastSignal,
  ProcessEvidence,
  RestoreEvidence,
} from '../record/records.js';
import type { Denial, GuardMechanism, Hardened, KeyMode, Lane } from '../record/words.js';
import type { CostRow } from './case.js';

export const TRIAL_MARK = '@trial ';
/** A warm host's line before each of its trials, on both streams: `@job 3`. */
export const JOB_MARK = '@job ';
export const WATCH_MARK = '@watch ';

/** What a trial's process is told, as the JSON of its last argument. */
export interface TrialSettings {
  readonly lane: Lane;
  readonly deny: Denial;
  readonly keys: KeyMode;
  readonly keysHere: boolean;
  readonly harden?: Hardened | undefined;
  readonly seed: number;
  readonly kernel: string;
  readonly imageFile?: string;
  /** The gate arms the trap and closes nothing: the control of every `prevented`. */
  readonly bareGate?: boolean;
}

/** Before a line of cost-trial.ts that holds a CostMeasurement as JSON. */
export const COST_MARK = '@cost ';

/** What cost-trial.ts is told, as the JSON of its last argument. */
export interface CostTrialSettings {
  readonly row: CostRow;
  readonly round: number;
  readonly quick: boolean;
  readonly seed: number;
}

/** First line: the trial is ready to make its callout. */
export interface SetUpMessage {
  readonly stage: 'set up';
  readonly vmModules: readonly string[];
  /** Spaces with their addresses and keys, to read what the runner says about addresses. */
  readonly spaces: readonly {
    readonly name: string;
    readonly address: string;
    readonly bytes: number;
    readonly key: number;
  }[];
}

/** Second line: the callout is over. */
export interface CalledMessage {
  readonly stage: 'called';
  readonly inapplicable: string | null;
  readonly fault: FaultEvidence | null;
  readonly answer: string | null;
  readonly errno: string | null;
  readonly disclosed: boolean;
  /** Why the search for instructions that write rights kept a library out; null where it did not. */
  readonly keptOut?: string | null;
  readonly notes: readonly string[];
}

/** Last line: the aftermath is over. */
export interface FinishedMessage {
  readonly stage: 'finished';
  readonly aftermath: readonly AftermathStep[];
  /** Null where the image was not compared, since the VM's own work went on in it meanwhile. */
  readonly diff: DiffEvidence | null;
  readonly canaries: readonly CanaryEvidence[];
  /** Where the image differed. */
  readonly restored?: RestoreEvidence;
}

/** Honest work has one line for each case. */
export interface HonestMessage {
  readonly stage: 'honest';
  readonly case: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly callouts: number;
  readonly imageEqual: boolean;
}

/** The trial could not even be set up; it says why and ends. */
export interface FailedMessage {
  readonly stage: 'failed';
  readonly reason: string;
}

export type TrialMessage = SetUpMessage | CalledMessage | FinishedMessage | HonestMessage | FailedMessage;

/** What native/watch reports. */
export interface WatchReport {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly done: boolean;
  readonly spaces: number;
  readonly imageAtDeath: 'equal' | 'differs' | 'unreadable' | 'unknown';
  readonly changedBytes: number;
  readonly firstSpaceAddress?: string;
  readonly firstOffset?: number;
  readonly lastSignal?: LastSignal;
}

/** All that a trial's output tells. */
export interface TrialOutput {
  readonly setUp: SetUpMessage | null;
  readonly called: CalledMessage | null;
  readonly finished: FinishedMessage | null;
  readonly honest: readonly HonestMessage[];
  readonly failed: FailedMessage | null;
  readonly watch: WatchReport | null;
}

function parse(line: string, mark: string): unknown {
  if (!line.startsWith(mark)) return undefined;
  try {
    return JSON.parse(line.slice(mark.length));
  } catch {
    return undefined; // foreign code imitating us, or a line cut by a death
  }
}

/** What one of the trials of a warm host wrote on a stream; '' if the host did not come to it. */
export function jobOutput(stream: string, job: number): string {
  const parts = `\n${stream}`.split(`\n${JOB_MARK}`);
  return parts
    .slice(1)
    .filter((part) => part.startsWith(`${job}\n`))
    .map((part) => part.slice(String(job).length + 1))
    .join('\n');
}

/** One trial of a warm host, as told to it. */
export interface WarmJob {
  readonly name: string;
  readonly mechanism: GuardMechanism;
  readonly timeoutMs: number;
  readonly setUpMs: number;
  readonly settings: TrialSettings;
}

/** Reads a trial's standard output. `job`: which of a warm host's; what others wrote late is left out. */
export function parseOutput(stdout: string, job?: number): TrialOutput {
  const honest: HonestMessage[] = [];
  const seen: { -readonly [K in keyof TrialOutput]: TrialOutput[K] } = {
    setUp: null,
    called: null,
    finished: null,
    honest,
    failed: null,
    watch: null,
  };
  for (const line of stdout.split('\n')) {
    const report = parse(line, WATCH_MARK);
    if (report !== undefined) seen.watch = report as WatchReport;
    const message = parse(line, TRIAL_MARK) as (TrialMessage & { readonly job?: number }) | undefined;
    if (message?.job !== job) continue;
    switch (message?.stage) {
      case 'set up':
        seen.setUp = message;
        break;
      case 'called':
        seen.called = message;
        break;
      case 'finished':
        seen.finished = message;
        break;
      case 'honest':
        honest.push(message);
        break;
      case 'failed':
        seen.failed = message;
        break;
      case undefined:
        break;
    }
  }
  return seen;
}

/** How the trial's process ended, from both of them. */
export function processEvidence(output: TrialOutput, stderr: string): ProcessEvidence {
  const { watch } = output;
  const stage =
    output.finished !== null
      ? 'finished'
      : output.called !== null
        ? 'called'
        : output.setUp !== null
          ? 'set up'
          : 'start';
  const died = watch?.exitCode !== 0 || watch.timedOut;
  const space =
    output.setUp?.spaces.find(({ address }) => address === watch?.firstSpaceAddress)?.name ?? watch?.firstSpaceAddress;
  return {
    exitCode: watch?.exitCode ?? null,
    signal: watch?.signal ?? null,
    timedOut: watch?.timedOut ?? false,
    stage: died && stage === 'finished' ? 'called' : stage,
    imageAtDeath: watch?.imageAtDeath ?? 'unknown',
    changedBytesAtDeath: watch?.changedBytes ?? 0,
    firstChangeAtDeath:
      space !== undefined && watch?.firstOffset !== undefined ? { space, offset: watch.firstOffset } : null,
    lastSignal: watch?.lastSignal ?? null,
    stderr: died ? stderr.trimEnd().split('\n').slice(-3).join('\n').slice(0, 600) : '',
  };
}
