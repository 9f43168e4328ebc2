/** Where the Lua host is, and why it might not be. */
import { inProject } from '../experiment/paths.js';

/** The built host (experiments/vm/lua), relative to the project's root. */
export const LUA_HOST = 'build/Release/turnkey-lua';

/** Said where the host was not built. */
export const LUA_MISSING = 'turnkey-lua was not built: it needs liblua5.4-dev and libffi-dev (apt-get install liblua5.4-dev libffi-dev, then npm run build)';

/** The host's path, whether it was built or not. */
export function luaHost(): string {
  return inProject(LUA_HOST);
}
