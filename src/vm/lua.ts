/** The Lua host (experiments/vm/lua): where it is, why it might not be, and what its experiments have in common. */
import { existsSync } from 'node:fs';
import { closesImage, type GuardMechanism, type Mechanism, type Verdict } from '../experiment/words.js';
import type { CorruptionCase, Setting } from '../experiment/case.js';
import { inProject } from '../experiment/paths.js';

/** The built host, relative to the project's root. */
export const LUA_HOST = 'build/Release/turnkey-lua';

/** The scripts that travel into guests. */
export const LUA_PROGRAMS = 'experiments/vm/lua/programs';

/** Said where the host was not built. */
export const LUA_MISSING =
  'turnkey-lua was not built: it needs liblua5.4-dev and libffi-dev (apt-get install liblua5.4-dev libffi-dev, then npm run build)';

/** The mechanisms that the host offers. */
export const LUA_MECHANISMS = [
  'none',
  'flag',
  'mprotect-page',
  'mprotect-range',
  'pkeys',
] as const satisfies readonly GuardMechanism[];

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

/** A case that the Lua host tries by one of its programs, which prints what protocol.ts reads (programs/trial.lua). */
export interface LuaTrial extends Pick<CorruptionCase, 'summary' | 'expected' | 'quick'> {
  /** Of LUA_PROGRAMS. */
  readonly script: string;
  /** Its arguments. */
  readonly words: readonly string[];
}

/** A case of the Lua host's. */
export function luaTrial({ script, words, ...more }: LuaTrial): CorruptionCase {
  return {
    kind: 'corruption',
    group: 'a real VM',
    timeoutMs: 10_000,
    ...more,
    skip: luaSkip,
    command: ({ mechanism, deny }) => luaCommand(mechanism, script, words, ['--deny', deny]),
    run: () => {
      throw new Error('this trial is made by the Lua host, not by a Node process');
    },
  };
}

/**
 * A corruption of one live object of a Lua program (programs/ruin.lua PART). `ruined`: what becomes of the program
 * where the store lands.
 */
export function luaCase(part: string, summary: string, ruined: readonly Verdict[], why: string): CorruptionCase {
  return luaTrial({
    script: 'ruin.lua',
    words: [part],
    summary,
    ...(part === 'table' ? { quick: true } : {}),
    expected: (setting) =>
      closesImage(setting.mechanism)
        ? { verdicts: ['prevented'], why: 'the object lies in the heap, which is closed while the callee runs' }
        : { verdicts: ruined, why },
  });
}

/** Whether there is a host to run. */
export function luaIsBuilt(): boolean {
  return existsSync(luaHost());
}

/** The command that runs one of LUA_PROGRAMS under a mechanism, by paths in the project. */
export function luaCommand(
  mechanism: Mechanism,
  program: string,
  words: readonly string[],
  options: readonly string[] = [],
): readonly string[] {
  return [LUA_HOST, '--mechanism', mechanism, ...options, `${LUA_PROGRAMS}/${program}`, ...words];
}
