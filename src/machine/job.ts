// A command for the guest, how it ended, and what is known of it on its way.

import { constants } from 'node:os';

/** A file to be written in the guest before a job starts. */
export interface JobFile {
  /** Absolute path in the guest. */
  readonly path: string;
  readonly content: Uint8Array | string;
  /** Default 0o644. */
  readonly mode?: number;
}

/** A command to be run in the guest. */
export interface Job {
  /** Program (found on PATH in the guest; `node` is there) and arguments. */
  readonly command: readonly string[];
  /** Default: the project's folder, which has the same path as outside. */
  readonly cwd?: string;
  /** Added to the guest's own: PATH, HOME, TMPDIR, LANG, TURNKEY_LANE=emulated. */
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: readonly JobFile[];
  /** Default: no input. A stream is read once: a second attempt gets no input. */
  readonly stdin?: Uint8Array | string | AsyncIterable<Uint8Array | string>;
  /**
   * Host time, less what QEMU waited for a processor of a busy host; then everything that the job started is killed.
   */
  readonly timeoutMs: number;
  /** Called as output comes in. After `onRetry` it begins again. */
  readonly onStdout?: (bytes: Buffer) => void;
  readonly onStderr?: (bytes: Buffer) => void;
  /** The guest was lost under this job, which is about to be run again. */
  readonly onRetry?: (reason: string) => void;
}

/** How a job ended. */
export interface JobResult {
  /** Null where a signal ended it, it could not start, or the guest was lost. */
  readonly exitCode: number | null;
  /** Name of the signal that ended it, e.g. 'SIGSEGV'. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Killed at its time limit. */
  readonly timedOut: boolean;
  /** The guest was lost twice under it; `reason` says how. */
  readonly lost: boolean;
  /** Why it could not start, was lost, or timed out. */
  readonly reason: string | null;
  /** 1, or 2 after a lost guest. */
  readonly attempts: number;
  /** By the guest's clock: in counting mode, instructions of the whole machine meanwhile. */
  readonly guestNs: number;
}

const MAX_OUTPUT_BYTES = 256 << 20;

const SIGNAL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

function errorName(errno: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
}

/** One job on its way: waiting, running, perhaps a second time. */
export class Task {
  attempts = 0;
  out: Buffer[] = [];
  err: Buffer[] = [];
  bytes = 0;
  timedOut = false;
  id = 0;
  limits: (() => void)[] = [];

  constructor(
    readonly job: Job,
    readonly resolve: (result: JobResult) => void,
    readonly reject: (error: Error) => void,
  ) {}

  /** Begins an attempt, under the id that the guest knows the job by. */
  begin(id: number): void {
    this.attempts++;
    this.id = id;
    this.out = [];
    this.err = [];
    this.bytes = 0;
    this.timedOut = false;
  }

  /** Takes output of the job's. */
  take(stream: 'out' | 'err', bytes: Buffer): void {
    this.bytes += bytes.length;
    if (this.bytes <= MAX_OUTPUT_BYTES) this[stream].push(bytes);
    (stream === 'out' ? this.job.onStdout : this.job.onStderr)?.(bytes);
  }

  /** Finishes by the guest's word of how the job ended: u32 kind, u32 value, u64 ns. */
  end(payload: Buffer): void {
    const kind = payload.readUInt32LE(0);
    const value = payload.readUInt32LE(4);
    const guestNs = Number(payload.readBigUInt64LE(8));
    if (kind === 0) this.finish({ exitCode: value, guestNs });
    else if (kind === 1) this.finish({ signal: SIGNAL_NAMES.get(value) ?? `signal ${value}`, guestNs });
    else this.finish({ reason: `${this.job.command[0] ?? ''} could not be started in the guest: ${errorName(value)}` });
  }

  clear(): void {
    for (const callOff of this.limits) callOff();
    this.limits = [];
  }

  finish(how: Partial<JobResult>): void {
    this.clear();
    this.resolve({
      exitCode: null,
      signal: null,
      stdout: Buffer.concat(this.out).toString('utf8'),
      stderr: Buffer.concat(this.err).toString('utf8'),
      timedOut: this.timedOut,
      lost: false,
      reason: this.timedOut ? `time limit of ${this.job.timeoutMs} ms` : null,
      attempts: this.attempts,
      guestNs: 0,
      ...how,
    });
  }
}
