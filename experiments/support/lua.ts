/** What the experiments of the Lua host (experiments/vm/lua) have in common. */
import {
  closesImage,
  type CorruptionCase,
  LUA_HOST,
  LUA_MECHANISMS,
  LUA_MISSING,
  luaIsBuilt,
  type Mechanism,
  type Setting,
  type Verdict,
} from '../../src/experiment/index.js';

/** The scripts that travel into guests. */
export const LUA_PROGRAMS = 'experiments/vm/lua/programs';

/** Why the Lua host cannot be used in a setting; undefined where it can. */
function luaSkip({ mechanism, keys }: Setting): string | undefined {
  if (!luaIsBuilt()) return LUA_MISSING;
  if (!(LUA_MECHANISMS as readonly string[]).includes(mechanism)) return `the Lua host does not offer ${mechanism}`;
  return keys === 'space' ? 'the Lua host gives its spaces keys of their own where what they lose differs' : undefined;
}

/** A case that the Lua host tries by one of its programs, which prints what protocol.ts reads (programs/trial.lua). */
export interface LuaTrial extends Pick<CorruptionCase, 'summary' | 'expected' | 'quick'> {
  /** Path of the program, below LUA_PROGRAMS. */
  readonly script: string;
  /** Its arguments. */
  readonly words: readonly string[];
}

/** A case of the Lua host's. */
export function luaTrial({ script, words, ...more }: LuaTrial): CorruptionCase {
  return {
    kind: 'corruption',
    timeoutMs: 10_000,
    ...more,
    skip: luaSkip,
    command: ({ mechanism, deny }) => luaCommand(mechanism, script, words, ['--deny', deny]),
    run() {
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

/** The command that runs one of LUA_PROGRAMS under a mechanism, by paths in the project. */
export function luaCommand(
  mechanism: Mechanism,
  program: string,
  words: readonly string[],
  options: readonly string[] = [],
): readonly string[] {
  return [LUA_HOST, '--mechanism', mechanism, ...options, `${LUA_PROGRAMS}/${program}`, ...words];
}
