/**
 * `turnkey squeak script.st`: a Smalltalk script in Debian's Squeak VM, guarded. The image that it starts is a patched
 * copy of the user's (src/squeak), kept in Turnkey's cache.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

import type { Command } from 'commander';

import { guard, HOST_MECHANISMS, type HostMechanism, summary } from '../guard/index.js';
import { cacheFolder } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { findSqueak, prepareImage, scriptCommand, scriptFiles } from '../squeak/vm.js';
import { say } from './guard.js';
import { HERE_OR_GUEST, oneOf } from './options.js';
import { probeKeys } from './probe.js';

interface Flags {
  readonly mechanism: HostMechanism;
  readonly lane: 'native' | 'emulated';
  readonly image?: string;
  readonly vm?: string;
  readonly with: readonly string[];
  readonly quiet?: boolean;
}

/** Adds the command. `done` gets the script's exit code: 0, or 1 after an error that it left. */
export function addSqueak(program: Command, done: (code: number) => void): void {
  program
    .command('squeak')
    .description("run a Smalltalk script in Debian's Squeak VM, guarded; the VM's FFI is repaired on the way")
    .argument('<script>', 'a file of Smalltalk statements')
    .argument('[words...]', 'its arguments, after --')
    .option('--mechanism <name>', HOST_MECHANISMS.join(', '), oneOf(HOST_MECHANISMS), 'auto' as const)
    .option('--lane <lane>', 'native or emulated', oneOf(HERE_OR_GUEST), 'native' as const)
    .option('--image <file>', "a V3 image with a compiler in it (default: that of Debian's package scratch)")
    .option('--vm <file>', "squeakvm (default: that of Debian's package squeak-vm)")
    .option(
      '--with <path>',
      'file, folder or library to take along into the emulated lane; may be repeated',
      (path: string, all: readonly string[]) => [...all, path],
      [] as readonly string[],
    )
    .option('--quiet', 'print no summary')
    .action(async (script: string, words: readonly string[], flags: Flags) => {
      const path = resolve(script);
      if (!existsSync(path)) throw new ExperimentError(`there is no script ${script}`);
      const squeak = findSqueak({
        ...(flags.vm === undefined ? {} : { vm: resolve(flags.vm) }),
        ...(flags.image === undefined ? {} : { image: resolve(flags.image) }),
      });
      const prepared = prepareImage(squeak, join(cacheFolder(), 'squeak'));
      const report = await guard(
        scriptCommand(squeak, prepared, path, words),
        {
          mechanism: flags.mechanism,
          lane: flags.lane,
          adapter: 'squeak',
          with: [...scriptFiles(squeak, prepared, path), ...flags.with],
          noChildren: false,
          keys: probeKeys(),
        },
        flags.quiet === true ? () => undefined : say,
      );
      if (flags.quiet !== true) for (const line of summary(report)) say(line);
      done(report.exitCode);
    });
}
