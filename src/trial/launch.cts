/**
 * Runs the bundle that lies beside it (scripts/bundle.mjs names it for the folder: dist/trial/trial.cjs), with the
 * compiled code that the build has kept. Where the kept code does not fit this V8, it compiles as usual.
 *
 * A trial starts a Node of its own, in the emulated lane under software emulation: there, finding and compiling thirty
 * modules takes longer than all that a trial does.
 * TURNKEY_KEEP_CODE=1 writes the code at exit, all functions included that this run has compiled.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Script } from 'node:vm';

const file = join(__dirname, `${basename(__dirname)}.cjs`);
const kept = `${file}.code`;

function codeKept(): Buffer | undefined {
  try {
    return readFileSync(kept);
  } catch {
    return undefined;
  }
}

const cachedData = codeKept();
const script = new Script(
  `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, 'utf8')}\n})`,
  {
    filename: file,
    ...(cachedData === undefined ? {} : { cachedData }),
  },
);
if (process.env['TURNKEY_KEEP_CODE'] === '1')
  process.on('exit', () => {
    writeFileSync(kept, script.createCachedData());
  });
const run = script.runInThisContext() as (
  exports: unknown,
  require: NodeJS.Require,
  module: unknown,
  filename: string,
  dirname: string,
) => void;
const own: { exports: unknown } = { exports: {} };
run(own.exports, require, own, file, __dirname);
module.exports = own.exports;
