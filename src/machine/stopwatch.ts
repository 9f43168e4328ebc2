// The time that a process had, as its time limit counts it. It counts the seconds in which the process worked or slept,
// not those in which it waited for a processor that others kept busy. So a hang ends, and a slow or busy machine ends
// nothing. Linux: proc(5).

import { readdirSync, readFileSync } from 'node:fs';

/** A tick of the kernel's clock of processes, USER_HZ: always 100 a second on x86-64 and ARM64. */
const TICK_MS = 10;
const MOST_OFTEN_MS = 50;
const LEAST_OFTEN_MS = 1000;

/** What one process and its threads are at. */
interface Sight {
  /** CPU time in ms, that of children waited for included. */
  readonly cpuMs: number;
  /** Whether a thread runs, waits for a processor, or for a disk. */
  readonly busy: boolean;
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // gone meanwhile
  }
}

function names(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** The fields of a stat file from `state` on; the name before them may hold anything. */
function fields(path: string): readonly string[] {
  const content = text(path);
  return content.slice(content.lastIndexOf(')') + 2).split(' ');
}

/** A process, its threads, and all that it started and that still has a parent here. */
function look(pid: number): Sight {
  const [, , , , , , , , , , , ...times] = fields(`/proc/${pid}/stat`);
  let cpuMs = times.slice(0, 4).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS;
  let busy = false;
  for (const thread of names(`/proc/${pid}/task`)) {
    const [state = ''] = fields(`/proc/${pid}/task/${thread}/stat`);
    busy ||= state === 'R' || state === 'D';
    for (const child of text(`/proc/${pid}/task/${thread}/children`).trim().split(' ')) {
      if (child === '') continue;
      const sight = look(Number(child));
      cpuMs += sight.cpuMs;
      busy ||= sight.busy;
    }
  }
  return { cpuMs, busy };
}

/** Counts the time that a process and its descendants had, from now on. */
export class Stopwatch {
  readonly #pid: number;
  #cpuMs: number;
  #atMs = performance.now();
  #hadMs = 0;

  constructor(pid: number) {
    this.#pid = pid;
    this.#cpuMs = look(pid).cpuMs;
  }

  /** Milliseconds had so far. */
  read(): number {
    const now = performance.now();
    const { cpuMs, busy } = look(this.#pid);
    const passed = now - this.#atMs;
    this.#hadMs += busy ? Math.min(passed, Math.max(0, cpuMs - this.#cpuMs)) : passed;
    this.#cpuMs = cpuMs;
    this.#atMs = now;
    return this.#hadMs;
  }

  /** Calls back once the process has had `ms` more. Returns what calls that off. */
  after(ms: number, then: () => void): () => void {
    const due = this.read() + ms;
    const everyMs = Math.min(LEAST_OFTEN_MS, Math.max(MOST_OFTEN_MS, ms / 4));
    const timer = setInterval(() => {
      if (this.read() < due) return;
      clearInterval(timer);
      then();
    }, everyMs);
    return () => {
      clearInterval(timer);
    };
  }
}
