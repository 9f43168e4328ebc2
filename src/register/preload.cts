/**
 * The same as index.ts, for `node --require`: without a wait, so that it also comes before code that a worker is given
 * as a string, which Node does not keep back for `--import`.
 */
import type * as Start from './start.js' with { 'resolution-mode': 'import' };

// eslint-disable-next-line @typescript-eslint/no-require-imports -- the one way to load it before the program
if (process.features.require_module) (require('./start.js') as typeof Start).start();
else
  process.emitWarning(
    `Node ${process.versions.node} cannot load Turnkey in time: start it with --import turnkey/register, or take ` +
      'Node 20.19 or later',
    { code: 'TURNKEY_NODE_VERSION' },
  );
