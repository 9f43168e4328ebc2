/** The Lua host (experiments/vm/lua): where it is, what it offers, and why it might not be there. */
import { existsSync } from 'node:fs';

import { inProject, NATIVE } from '../record/paths.js';
import type { GuardMechanism } from '../record/words.js';

/** The built host, relative to the project's root. */
export const LUA_HOST = `${NATIVE}/turnkey-lua`;

/** Said where the host was not built. */
export const LUA_MISSING =
  'turnkey-lua was not built: it needs liblua5.4-dev and libffi-dev (apt-get install liblua5.4-dev ' +
  'libffi-dev, then npm run build)';

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

/** Whether there is a host to run. */
export function luaIsBuilt(): boolean {
  return existsSync(luaHost());
}
