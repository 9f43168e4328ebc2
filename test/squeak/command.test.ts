/**
 * `turnkey squeak`: the example's script as a user runs it, and what the command says where it cannot run one.
 * Broken once: the script's exit code not passed on; its words left out; the image patched anew for each script.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { PROJECT_ROOT } from '../../src/record/paths.js';
import { squeakRunner } from '../support/squeak.js';
import { v3Image } from '../support/v3-image.js';

const MAIN = join(PROJECT_ROOT, 'dist/src/cli/main.js');
const DEMO = join(PROJECT_ROOT, 'examples/squeak/demo.st');
const folder = t.testdir();

interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
const squeak = (...words: readonly string[]): Said =>
  spawnSync(process.execPath, [MAIN, 'squeak', ...words], {
    encoding: 'utf8',
    env: { ...process.env, TURNKEY_CACHE: join(folder, 'cache') },
  });

const runner = squeakRunner();
t.test('the example and other scripts', { skip: typeof runner === 'string' ? runner : false }, (t) => {
  const { status, stdout, stderr } = squeak('--mechanism', 'mprotect-range', DEMO);
  t.equal(status, 0, stderr);
  t.same(stdout.replace(/ \(SEGV_ACCERR\).*/g, '').split('\n'), [
    'the prices are a ByteArray(10 20 30 40)',
    'exception in FFI call: SIGSEGV',
    'afterwards they are a ByteArray(10 20 30 40)',
    'filled, they are a ByteArray(50 50 50 50)',
    'one byte too many: exception in FFI call: SIGSEGV',
    'the sum is 200, and 20! is 2432902008176640000',
    '',
  ]);
  t.match(stderr, /^turnkey: 3 callouts, 2 failed; lane native, adapter squeak$/m);
  t.match(stderr, /^turnkey: 2 × exception in FFI call: SIGSEGV .* in memset: write 0x\w+ in the heap's space 'heap'/m);

  const open = squeak('--mechanism', 'none', DEMO);
  t.match(open.stdout, /afterwards they are a ByteArray\(99 99 99 99\)/);
  t.notMatch(open.stdout, /the sum is/, 'unguarded, the VM does not come so far');
  t.not(open.status, 0);
  t.match(open.stderr, /^turnkey: mechanism none: nothing was guarded/m);

  const script = join(folder, 'exits.st');
  writeFileSync(script, 'Turnkey print: (Turnkey argument: 1), (Turnkey argument: 2).\nTurnkey exit: 7');
  const exits = squeak('--quiet', '--mechanism', 'flag', script, 'one ', 'two');
  t.same([exits.status, exits.stdout, exits.stderr], [7, 'one two\n', '']);
  t.equal(readdirSync(join(folder, 'cache/squeak')).length, 2, 'one patched image, and its prelude, serve them all');

  writeFileSync(script, 'Turnkey print: 1 printString.\nTurnkey print: (3 + .');
  t.match(squeak('--quiet', '--mechanism', 'flag', script), {
    status: 1,
    stderr: /^syntax error at character 51: Argument expected ->$/m,
  });

  const image = join(folder, 'small.image');
  writeFileSync(image, v3Image({ without: ['Compiler'] }));
  t.match(squeak('--image', image, DEMO), { status: 1, stderr: /^turnkey: No script can run in this image/ });
  writeFileSync(image, 'no image');
  t.match(squeak('--image', image, DEMO), {
    status: 1,
    stderr: /^turnkey: This is no image file of the Squeak family/,
  });
  t.end();
});

t.test('what is not there is named, with what to install', (t) => {
  t.match(squeak('nowhere.st'), { status: 1, stderr: 'turnkey: there is no script nowhere.st\n' });
  const missing =
    /^turnkey: There is no \/nowhere\/squeakvm: apt-get install --no-install-recommends squeak-vm scratch\./;
  t.match(squeak('--vm', '/nowhere/squeakvm', DEMO), { status: 1, stderr: missing });
  t.end();
});
