// What npm runs when a user installs the package. Where the prebuilt addon loads, nothing is done: so the package works
// as well where npm keeps install scripts from running. Elsewhere the addon is built from source by cmake-js, which
// npm fetches for that alone, and only then. In a checkout scripts/setup.mjs builds, and this does nothing.
//
// npm install turnkey --build-from-source   builds in any case

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** @returns {never} */
function end(/** @type {number} */ code, /** @type {string} */ text) {
  process.stderr.write(`turnkey: ${text}\n`);
  process.exit(code);
}

/** Tries the addon in a process of its own: one that does not fit may do more than throw. */
function addonLoads() {
  const module = join(root, 'dist', 'src', 'addon.js');
  const program = `(await import(${JSON.stringify(new URL(`file://${module}`).href)})).loadAddon()`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  return { loads: status === 0, platform: stderr.includes('ERR_ADDON_PLATFORM'), why: stderr };
}

const runs = (/** @type {string} */ command, /** @type {string[]} */ ...args) =>
  spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/** The folder of cmake-js and node-addon-api: the user's own, or fetched by npm into the package's build folder. */
function buildTools() {
  try {
    require.resolve('node-addon-api');
    return { cmakeJs: require.resolve('cmake-js/bin/cmake-js'), modules: undefined };
  } catch {
    const folder = join(root, 'build', 'tools');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
    const wanted = ['cmake-js', 'node-addon-api'].map((name) => `${name}@${manifest.devDependencies[name]}`);
    const npm = process.env.npm_execpath;
    const [command, ...first] = npm === undefined ? ['npm'] : [process.execPath, npm];
    const { status } = spawnSync(
      command,
      [
        ...first,
        'install',
        '--no-audit',
        '--no-fund',
        '--no-package-lock',
        '--ignore-scripts',
        '--prefer-offline',
        ...wanted,
      ],
      // npm must not take the user's project, or the flags of the install that runs this, for its own
      {
        cwd: folder,
        stdio: ['ignore', 'ignore', 'inherit'],
        env: Object.fromEntries(
          Object.entries(process.env).filter(
            ([name]) => !/^npm_config_(prefix|global|local_prefix|save|build_from_source)$/i.test(name),
          ),
        ),
      },
    );
    if (status !== 0) end(1, `npm could not fetch ${wanted.join(' and ')}, which build the addon`);
    const modules = join(folder, 'node_modules');
    return { cmakeJs: join(modules, 'cmake-js', 'bin', 'cmake-js'), modules };
  }
}

function build() {
  const missing = [
    ...(runs('cmake', '--version') ? [] : ['cmake']),
    ...(runs('make', '--version') || runs('ninja', '--version') ? [] : ['make']),
    ...(runs('c++', '--version') || runs('g++', '--version') ? [] : ['g++']),
  ];
  if (missing.length > 0)
    end(
      1,
      `no prebuilt addon fits this system, and building it needs ${missing.join(', ')}: ` +
        `apt-get install ${missing.join(' ')}`,
    );
  const { cmakeJs, modules } = buildTools();
  const { status } = spawnSync(
    process.execPath,
    [cmakeJs, 'build', '--log-level', 'warn', '--CDTURNKEY_TESTS=OFF', '--CDTURNKEY_WERROR=OFF', '--parallel', '4'],
    {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, ...(modules === undefined ? {} : { NODE_PATH: modules }) },
    },
  );
  if (status !== 0) end(1, 'the addon could not be built from source; the lines above say why');
}

// A checkout has the set-up script, which the package has not.
if (!existsSync(join(root, 'scripts', 'setup.mjs'))) {
  const forced = /^(1|true|turnkey)$/.test(process.env.npm_config_build_from_source ?? '');
  const { loads, platform } = addonLoads();
  if (platform) end(0, 'not built: it runs on Linux on x86-64 with glibc; importing it elsewhere says so');
  if (forced || !loads) {
    build();
    const { loads: now, why } = addonLoads();
    if (!now) end(1, `the addon was built and does not load: ${why}`);
  }
}
