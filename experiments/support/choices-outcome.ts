/** What came of the caller of a choice, and why a choice cannot be had. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { type Choice, isProgram } from './choices.js';
import { harmCommand } from './choices-program.js';
import type { Harm } from './choices-work.js';

const HARM = fileURLToPath(new URL('choices-harm.js', import.meta.url));

/**
 * What became of the caller, in a process of its own: in its own word, or how it died.
 * @throws Unavailable where the choice is a program that cannot be had
 */
export function survived(choice: Choice, mechanism: string, harm: Harm): string {
  const { file, args, env } = isProgram(choice)
    ? harmCommand(choice, harm)
    : { file: process.execPath, args: [HARM, choice, mechanism, harm], env: process.env };
  const { status, signal, stdout } = spawnSync(file, args, {
    encoding: 'utf8',
    timeout: 60_000,
    stdio: ['ignore', 'pipe', 'ignore'],
    ...(env === undefined ? {} : { env }),
  });
  return status === 0 ? stdout : `dies: ${signal ?? `exit code ${String(status)}`}`;
}
