/** `turnkey vm lua script.lua`: a user's own script behind keys, in whichever lane has them. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, resolve } from 'node:path';

import { LUA_MISSING, luaHost } from '../experiment/lua-host.js';
import { ExperimentError } from '../record/errors.js';
import { type Denial, type GuardMechanism, needsKeys } from '../record/words.js';
import { probeKeys } from './probe.js';

export interface VmFlags {
  readonly mechanism: GuardMechanism;
  readonly deny?: Denial;
  readonly with: readonly string[];
}

/**
 * Runs the script and returns its exit code. Where keys are asked for and this CPU has none, it runs in a guest that
 * has; which it was is said on standard error.
 * @throws ExperimentError when there is no such VM, no such script, or the host was not built
 */
export async function vmCommand(vm: string, script: string, words: readonly string[], flags: VmFlags): Promise<number> {
  if (vm !== 'lua') throw new ExperimentError(`there is no VM called '${vm}'; there is lua`);
  if (!existsSync(luaHost())) throw new ExperimentError(LUA_MISSING);
  const path = resolve(script);
  if (!existsSync(path)) throw new ExperimentError(`there is no script ${script}`);
  const command = [
    luaHost(),
    '--say',
    '--mechanism',
    flags.mechanism,
    ...(flags.deny === undefined ? [] : ['--deny', flags.deny]),
    path,
    ...words,
  ];
  const keys = probeKeys();
  if (needsKeys(flags.mechanism) && !keys.usable) {
    process.stderr.write(
      `turnkey: protection keys are not usable here (${keys.reason}): the script runs in a guest that has them\n`,
    );
    const { emulatedCommand } = await import('../machine/index.js');
    return emulatedCommand(command, { with: [dirname(path), ...flags.with] });
  }
  const [program = '', ...rest] = command;
  const { status, signal, error } = spawnSync(program, rest, { stdio: 'inherit' });
  if (error !== undefined)
    throw new ExperimentError(`the Lua host could not be started: ${error.message}`, { cause: error });
  return status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}
