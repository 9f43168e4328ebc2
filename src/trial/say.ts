/**
 * How a trial tells its runner: whole marked lines on standard output, written at once, since the process may die in
 * the next instruction.
 */
import { writeSync } from 'node:fs';

import { TRIAL_MARK, type TrialMessage } from '../experiment/protocol.js';

/** Which of a warm host's trials this process is. */
let job: number | undefined;

/** From now on every message carries the number of this job. */
export function sayAsJob(index: number): void {
  job = index;
}

/** Writes all of `text` to standard output (1) or standard error (2). */
export function writeWhole(descriptor: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
}

/** Prints a message as a line of its own. */
export function say(message: TrialMessage): void {
  writeWhole(1, `\n${TRIAL_MARK}${JSON.stringify(job === undefined ? message : { ...message, job })}\n`);
}
