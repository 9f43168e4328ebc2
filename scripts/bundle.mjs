// Makes one file of a trial's program with all experiments (dist/trial/trial.cjs), and keeps its compiled code beside
// it: see src/trial/launch.cts. Makes one file of what is preloaded into Node programs: src/register/preload.ts. Part
// of `npm run build:ts`; needs what tsc and CMake have built.

import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { bundleForTests } from './test-bundles.mjs';
import { vendorPackages } from './vendor.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'dist', 'trial');
const bundle = join(folder, 'trial.cjs');

/**
 * In place of src/experiment/load.ts: an import() that esbuild resolves to every case and every honest piece of work.
 * What measures a cost runs in a process of its own (src/trial/cost-trial.ts), and would bring two packages along.
 */
/** @type {import('esbuild').Plugin} */
const experiments = {
  name: 'experiments',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]src[/\\]experiment[/\\]load\.js$/ }, ({ path }) => ({
      contents: `export function importExperiment(path) {
        const [kind, ...rest] = path.split('/');
        const name = rest.join('/');
        if (kind === 'corruption') return import(\`../../experiments/corruption/\${name}.js\`);
        if (kind === 'honest') return import(\`../../experiments/honest/\${name}.js\`);
        return Promise.reject(new Error(\`a trial runs no \${kind} experiment\`));
      }`,
      resolveDir: dirname(path),
    }));
  },
};

// Code that new Script() compiles cannot import modules, so every import() becomes a require().
await build({
  entryPoints: [join(root, 'dist', 'src', 'trial', 'trial.js')],
  outfile: bundle,
  bundle: true,
  plugins: [experiments],
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  supported: { 'dynamic-import': false },
  banner: { js: "const ownUrl = require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'ownUrl' },
  logLevel: 'warning',
});
// src/register/preload.ts: it loads the library, which it leaves outside, when koffi is first used.
await build({
  entryPoints: [join(root, 'dist', 'src', 'register', 'preload.js')],
  outfile: join(root, 'dist', 'src', 'register', 'preload.cjs'),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  banner: { js: "const ownUrl = require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'ownUrl' },
  logLevel: 'warning',
});
// After the bundles: from the packages themselves it takes no more than it uses.
await bundleForTests(root);
await vendorPackages();
// npx looks at its mode only when it first links it
chmodSync(join(root, 'dist', 'src', 'cli', 'main.js'), 0o755);

const launch = join(folder, 'launch.cjs');
copyFileSync(join(root, 'dist', 'src', 'trial', 'launch.cjs'), launch);

const code = `${bundle}.code`;
rmSync(code, { force: true });
if (existsSync(join(root, 'build', 'Release', 'turnkey.node'))) {
  const settings = { lane: 'native', deny: 'write', keys: 'image', keysHere: false, seed: 1, kernel: '' };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', launch, 'corruption', 'wild-write', 'mprotect-range', JSON.stringify(settings)],
    { cwd: root, encoding: 'utf8', env: { ...process.env, TURNKEY_KEEP_CODE: '1' } },
  );
  if (status !== 0 || !existsSync(code))
    process.stderr.write(`no code kept (trials start slower): ${stdout}${stderr}\n`);
}
