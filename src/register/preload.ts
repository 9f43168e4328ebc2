/**
 * The same as index.ts, for `node --require`. It does not wait. So it also comes before code that a worker is given as
 * a string, which Node does not hold back for `--import`. scripts/bundle.mjs makes one CommonJS file of it, since
 * Node's loader of modules takes longer to begin than all of this.
 */
import { start } from './start.js';

if (process.features.require_module) start();
else
  process.emitWarning(
    `Node ${process.versions.node} cannot load Turnkey in time: start it with --import turnkey/register, or take ` +
      'Node 20.19 or later',
    { code: 'TURNKEY_NODE_VERSION' },
  );
