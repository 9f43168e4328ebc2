/** The Lua host (experiments/vm/lua): where it is, why it might not be, and what its experiments have in common. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { closesImage, type GuardMechanism, type Mechanism, type Verdict } from '../experiment/words.js';
import type { CorruptionCase, Setting } from '../experiment/case.js';
import { PROJECT_ROOT, inProject } from '../experiment/paths.js';

/** The built host, relative to the project's root. */
export const LUA_HOST = 'build/Release/turnkey-lua';

/** The scripts that travel into guests. */
export const LUA_PROGRAMS = 'experiments/vm/lua/programs';

/** Said where the host was not built. */
export const LUA_MISSING = 'turnkey-lua was not built: it needs liblua5.4-dev and libffi-dev (apt-get install liblua5.4-dev libffi-dev, then npm run build)';

/** The mechanisms that the host offers. */
export const LUA_MECHANISMS = ['none', 'flag', 'mprotect-page', 'mprotect-range', 'pkeys'] as const satisfies readonly GuardMechanism[];

/** The host's path, whether it was built or not. */
export function luaHost(): string {
  return inProject(LUA_HOST);
}

/** Why the Lua host cannot be used in a setting; undefined where it can. */
function luaSkip({ mechanism, keys }: Setting): string | undefined {
  if (!luaIsBuilt()) return LUA_MISSING;
  if (!(LUA_MECHANISMS as readonly string[]).includes(mechanism)) return `the Lua host does not offer ${mechanism}`;
  return keys === 'space' ? 'the Lua host gives its spaces keys of their own where what they lose differs' : undefined;
}

/**
 * A corruption of one live object of a Lua program (programs/ruin.lua PART). `ruined`: what becomes of the program where the store lands.
 */
export function luaCase(part: string, summary: string, ruined: readonly Verdict[], why: string): CorruptionCase {
  return {
    kind: 'corruption', group: 'a real VM', summary, ...(part === 'table' ? { quick: true } : {}), timeoutMs: 10_000,
    skip: luaSkip,
    expected: (setting) => (closesImage(setting.mechanism)
      ? { verdicts: ['prevented'], why: 'the object lies in the heap, which is closed while the callee runs' }
      : { verdicts: ruined, why }),
    command: ({ mechanism, deny }) => [LUA_HOST, '--mechanism', mechanism, '--deny', deny, `${LUA_PROGRAMS}/ruin.lua`, part],
    run: () => { throw new Error('this trial is made by the Lua host, not by a Node process'); },
  };
}

/** Whether there is a host to run. */
export function luaIsBuilt(): boolean {
  return existsSync(luaHost());
}

/**
 * Runs one of the programs and returns what its last line says, as JSON.
 * @throws Error when it fails
 */
export function runLua<T>(mechanism: Mechanism, program: string, words: readonly string[]): T {
  const { status, stdout, stderr } = spawnSync(luaHost(), ['--mechanism', mechanism, `${LUA_PROGRAMS}/${program}`, ...words], { cwd: PROJECT_ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`turnkey-lua ${program} ${words.join(' ')} under ${mechanism}: ${stderr.trim().split('\n')[0] ?? ''}`);
  return JSON.parse(stdout.trim().split('\n').pop() ?? '') as T;
}
