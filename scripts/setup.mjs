// Finds what a fresh machine lacks, says what it will install, installs it, and builds what has changed.
// Plain JavaScript without dependencies: it runs before npm packages are there. Run alone, it sets up and stops.
// More than 400 lines: what is missing, what installs it and what builds with it is one list of prerequisites.
//
// TURNKEY_NO_INSTALL=1  nothing is installed or fetched; what is missing is an error that names it
// TURNKEY_CACHE=DIR     where kernels and initramfs files are kept (else XDG_CACHE_HOME/turnkey or ~/.cache/turnkey)
// TURNKEY_KERNEL=FILE   the guest's kernel; none is fetched then
// TURNKEY_NO_EMULATED=1 the emulated lane is not set up (its tests and measurements are skipped, and say so)

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { cacheFolder, hostCpu, showsKeys } from '../src/machine/host.mjs';

export { cacheFolder };

/**
 * @typedef {{ package: string, why: string, optional?: boolean, there: () => boolean }} DebianPackage
 * @typedef {keyof typeof CROSS_LANES} CrossLane
 */

/** The project's folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The compiler: TypeScript 7, a native program. The package `typescript` is 5.9, for what reads types through its API:
 * typedoc, tap and scripts of ours. Both bring a `tsc`, and npm links either.
 */
export const TSC = [process.execPath, join(root, 'node_modules', 'typescript-7', 'bin', 'tsc')];

/** Something that the user can do something about: printed without a stack. */
export class SetupError extends Error {}

/** Prints an error the way it deserves and ends with exit code 1. */
/** @param {unknown} error @returns {never} */
export function fail(error) {
  const stack = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${error instanceof SetupError ? `turnkey: ${error.message}` : stack}\n`);
  process.exit(1);
}

function say(/** @type {string} */ text) {
  process.stdout.write(`turnkey: ${text}\n`);
}

/** True where this CPU has keys and the kernel uses them: then nothing needs to be emulated. */
export const hostHasKeys = () => showsKeys(hostCpu().flags);

const mayInstall = () => !process.env.TURNKEY_NO_INSTALL || process.env.TURNKEY_NO_INSTALL === '0';
const isRoot = () => process.getuid?.() === 0;

function onPath(/** @type {string} */ name) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      const path = join(folder, name);
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

/**
 * Seconds of processor time: a process's own, and that of the children it waited for. proc(5).
 * @param {number | 'self'} pid
 */
export function processorTime(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map((ticks) => Number(ticks) / 100);
  return { ownS: user + system, childrenS: childrenUser + childrenSystem };
}

/** Does something that takes a while, and says so. */
function timed(/** @type {string} */ what, /** @type {() => void} */ action) {
  say(`${what} …`);
  const started = Date.now();
  const before = processorTime('self').childrenS;
  action();
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const cpuS = processorTime('self').childrenS - before;
  say(`${what}: done in ${seconds} s (${cpuS.toFixed(1)} s of CPU)`);
}

/** Runs a command quietly; its output is shown only where it fails. */
export function runQuietly(
  /** @type {string} */ command,
  /** @type {readonly string[]} */ args,
  /** @type {{ cwd?: string, env?: NodeJS.ProcessEnv }} */ options = {},
) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
  });
  if (error) throw new SetupError(`${command} could not be run: ${error.message}`);
  if (status !== 0) {
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    throw new SetupError(`\`${command} ${args.join(' ')}\` failed (${signal ?? `exit code ${status}`})`);
  }
  return stdout;
}

/** The commit that a record names. @throws SetupError where the tree is not clean */
export function cleanCommit() {
  const git = (/** @type {string[]} */ ...args) => runQuietly('git', args).trim();
  if (git('status', '--porcelain') !== '') throw new SetupError('records are made from a clean tree only');
  return git('rev-parse', 'HEAD');
}

/** A command's output, or '' where it fails. */
function output(/** @type {string} */ command, /** @type {readonly string[]} */ args) {
  const { status, stdout } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  return status === 0 ? stdout : '';
}

// ---- what is missing ------------------------------------------------------------------------------------------------

function libraryKnown(/** @type {string} */ name) {
  const ldconfig = ['/sbin/ldconfig', '/usr/sbin/ldconfig'].find(existsSync) ?? 'ldconfig';
  return output(ldconfig, ['-p']).includes(`${name} (`);
}

/**
 * Debian packages that are missing, each with what it is for. `optional`: the rest works without it, and what does not
 * says so.
 */
function missingPackages(/** @type {boolean} */ emulated) {
  /** @type {DebianPackage[]} */
  const wanted = [
    { package: 'gcc', why: 'a C compiler', there: () => onPath('gcc') || onPath('cc') },
    { package: 'g++', why: 'a C++ compiler', there: () => onPath('g++') || onPath('c++') },
    { package: 'libc6-dev', why: 'C headers', there: () => existsSync('/usr/include/stdio.h') },
    { package: 'make', why: 'make', there: () => onPath('make') },
    { package: 'cmake', why: 'CMake', there: () => onPath('cmake') },
    {
      package: 'pkg-config',
      why: 'pkg-config, by which a test finds the installed libraries',
      there: () => onPath('pkg-config'),
    },
    { package: 'zlib1g', why: 'libz.so.1, called in experiments', there: () => libraryKnown('libz.so.1') },
    {
      package: 'libsqlite3-0',
      why: 'libsqlite3.so.0, called in experiments',
      there: () => libraryKnown('libsqlite3.so.0'),
    },
    {
      package: 'libpng16-16',
      why: 'libpng16.so.16, called in experiments',
      there: () => libraryKnown('libpng16.so.16'),
    },
    { package: 'libbz2-1.0', why: 'libbz2.so.1.0, called in experiments', there: () => libraryKnown('libbz2.so.1.0') },
    { package: 'libexpat1', why: 'libexpat.so.1, called in experiments', there: () => libraryKnown('libexpat.so.1') },
    { package: 'zlib1g-dev', why: "zlib's header, for campaigns", there: () => existsSync('/usr/include/zlib.h') },
    {
      package: 'libsqlite3-dev',
      why: "SQLite's header, for campaigns",
      there: () => existsSync('/usr/include/sqlite3.h'),
    },
  ];
  for (const [name, header, what] of /** @type {const} */ ([
    ['liblua5.4-dev', 'lua5.4/lua.h', 'Lua'],
    ['libffi-dev', 'ffi.h', 'libffi'],
  ])) {
    const folders = ['/usr/include', '/usr/include/x86_64-linux-gnu', '/usr/local/include'];
    wanted.push({
      package: name,
      why: `${what}, for turnkey-lua: a real VM behind keys`,
      optional: true,
      there: () => folders.some((folder) => existsSync(join(folder, header))),
    });
  }
  wanted.push({
    package: 'python3',
    why: 'CPython, for turnkey guard: a program that exists behind keys',
    optional: true,
    there: () => existsSync('/usr/bin/python3'),
  });
  if (emulated) {
    wanted.push({
      package: 'qemu-system-x86',
      why: 'emulates a CPU with protection keys, which this one lacks',
      there: () => onPath('qemu-system-x86_64') || Boolean(process.env.TURNKEY_QEMU),
    });
  }
  if (process.env.TURNKEY_REQUIRE_BROWSER === '1') {
    wanted.push({
      package: 'chromium',
      why: 'opens report.html in tests',
      there: () => Boolean(process.env.TURNKEY_CHROMIUM) || existsSync('/usr/bin/chromium'),
    });
  }
  return wanted.filter(({ there }) => !there());
}

/**
 * Lanes in which the C layers run cross-compiled, for another machine or system. Each says what it needs, its toolchain
 * file under cmake/, its build folder, further options for CMake, and the variable that makes it a failure that the
 * lane cannot run.
 */
export const CROSS_LANES = {
  'qemu-user': {
    what: 'ARM64 Linux',
    script: 'test:arm64',
    folder: 'build-arm64',
    toolchain: 'toolchain-aarch64-linux-gnu.cmake',
    options: ['-DTURNKEY_SIGNATURES=2000'],
    required: 'TURNKEY_REQUIRE_ARM64',
    packages: [
      { package: 'gcc-aarch64-linux-gnu', why: 'a C compiler for ARM64', there: () => onPath('aarch64-linux-gnu-gcc') },
      {
        package: 'g++-aarch64-linux-gnu',
        why: 'a C++ compiler for ARM64',
        there: () => onPath('aarch64-linux-gnu-g++'),
      },
      {
        package: 'libc6-dev-arm64-cross',
        why: 'C headers and library for ARM64',
        there: () => existsSync('/usr/aarch64-linux-gnu/include/stdio.h'),
      },
      { package: 'qemu-user', why: 'runs ARM64 programs', there: () => onPath('qemu-aarch64') },
    ],
  },
  wine: {
    what: 'Windows x64',
    script: 'test:windows',
    folder: 'build-win',
    toolchain: 'toolchain-mingw-w64.cmake',
    options: ['-DTURNKEY_SIGNATURES=2000'],
    required: 'TURNKEY_REQUIRE_WINDOWS',
    packages: [
      {
        package: 'gcc-mingw-w64-x86-64',
        why: 'a C compiler for Windows',
        there: () => onPath('x86_64-w64-mingw32-gcc'),
      },
      {
        package: 'g++-mingw-w64-x86-64',
        why: 'a C++ compiler for Windows',
        there: () => onPath('x86_64-w64-mingw32-g++'),
      },
      { package: 'wine', why: 'runs Windows programs', there: () => onPath('wine') },
      {
        package: 'wine64',
        why: 'runs 64-bit Windows programs',
        there: () => existsSync('/usr/lib/wine/wine64') || onPath('wine64'),
      },
    ],
  },
};
const BUILD_PACKAGES = [
  { package: 'make', why: 'make', there: () => onPath('make') },
  { package: 'cmake', why: 'CMake', there: () => onPath('cmake') },
];

/** The Debian packages that a lane of CROSS_LANES lacks here. */
/** @returns {DebianPackage[]} */
export function missingForLane(/** @type {CrossLane} */ lane) {
  return [...BUILD_PACKAGES, ...CROSS_LANES[lane].packages].filter(({ there }) => !there());
}

/** Kernel packages that lead to a bootable image, best first. */
const KERNEL_PACKAGES = ['linux-image-cloud-amd64', 'linux-image-amd64', 'linux-image-virtual', 'linux-image-generic'];

function fetched() {
  try {
    return JSON.parse(readFileSync(join(cacheFolder(), 'machine.json'), 'utf8'));
  } catch {
    return {};
  }
}

function readable(/** @type {string} */ path) {
  try {
    accessSync(path, constants.R_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function kernelThere() {
  if (process.env.TURNKEY_KERNEL) {
    if (!readable(process.env.TURNKEY_KERNEL))
      throw new SetupError(`TURNKEY_KERNEL names ${process.env.TURNKEY_KERNEL}, which cannot be read`);
    return true;
  }
  return readable(fetched().kernel ?? '');
}

function busyboxThere() {
  return readable(fetched().busybox ?? '') || ['/bin/busybox', '/usr/bin/busybox'].some(readable);
}

/** Are the installed npm packages those of package-lock.json? */
function npmPackagesThere() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    const have = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages;
    return Object.entries(wanted).every(
      ([path, { version, optional }]) =>
        path === '' || (have[path] === undefined ? optional === true : have[path].version === version),
    );
  } catch {
    return false;
  }
}

// ---- apt ------------------------------------------------------------------------------------------------------------

let aptUpdated = false;

/** Does apt know a version of this package that it could fetch? */
function aptKnows(/** @type {string} */ name) {
  return /Candidate: (?!\(none\))\S/.test(output('apt-cache', ['policy', name]));
}

/** Brings apt's lists up to date, at most once, and only where a package is not known. */
function aptUpdate() {
  if (aptUpdated) return;
  aptUpdated = true;
  if (isRoot()) runQuietly('apt-get', ['update', '-qq']);
}

function aptInstall(/** @type {readonly string[]} */ packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const args = ['install', '-y', '-qq', '--no-install-recommends', ...packages];
  if (!packages.every(aptKnows)) aptUpdate();
  const first = spawnSync('apt-get', args, { encoding: 'utf8', env, maxBuffer: 1 << 28 });
  if (first.status === 0) return;
  if (aptUpdated) {
    process.stderr.write(`${first.stdout}${first.stderr}`);
    throw new SetupError(`apt-get could not install ${packages.join(' ')}`);
  }
  aptUpdate(); // the lists may be older than the archive
  runQuietly('apt-get', args, { env });
}

/** Fetches a package into `folder` and unpacks it there, without installing it. */
function aptUnpack(/** @type {string} */ name, /** @type {string} */ folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const fetch = () => spawnSync('apt-get', ['download', '-qq', name], { cwd: folder, encoding: 'utf8' });
  if (!aptKnows(name)) aptUpdate();
  let result = fetch();
  if (result.status !== 0 && isRoot() && !aptUpdated) {
    aptUpdate();
    result = fetch();
  }
  const archive = readdirSync(folder).find((file) => file.endsWith('.deb'));
  if (result.status !== 0 || archive === undefined)
    throw new SetupError(
      `apt-get could not download ${name}: ` +
        (result.stderr || result.error?.message || '').trim() +
        (isRoot() ? '' : '\n  its lists may be missing or old: sudo apt-get update'),
    );
  runQuietly('dpkg', ['-x', archive, '.'], { cwd: folder });
  rmSync(join(folder, archive));
}

/** The concrete kernel package, e.g. linux-image-6.1.0-56-cloud-amd64. */
function concreteKernelPackage() {
  const find = () => {
    for (const meta of KERNEL_PACKAGES) {
      const concrete = /Depends: (linux-image-\S*\d\S*)/.exec(
        output('apt-cache', ['depends', '--important', meta]),
      )?.[1];
      if (concrete !== undefined && aptKnows(concrete)) return concrete;
    }
    return undefined;
  };
  let found = find();
  if (found === undefined) {
    aptUpdate();
    found = find();
  }
  if (found === undefined)
    throw new SetupError(
      'apt knows none of ' +
        `${KERNEL_PACKAGES.join(', ')}${isRoot() ? '' : '; its lists may be missing: sudo apt-get update'}. Or ` +
        'name a kernel: TURNKEY_KERNEL=FILE',
    );
  return found;
}

function remember(/** @type {Readonly<Record<string, string>>} */ what) {
  const path = join(cacheFolder(), 'machine.json');
  writeFileSync(`${path}.${process.pid}`, `${JSON.stringify({ ...fetched(), ...what }, null, 2)}\n`);
  renameSync(`${path}.${process.pid}`, path);
}

/**
 * The package that holds the kernel where an image package only depends on it, as Debian's do from 14 on.
 * @param {string} depends what `apt-cache depends` says of the image package
 */
export function kernelBinaryPackage(depends) {
  return /^[ |]*(?:Pre)?Depends: (linux-binary-[^\s<>]+)$/m.exec(depends)?.[1];
}

const KERNEL_FILE = 'vmlinuz';

/** The name of a kernel in a folder's boot. */
function kernelIn(/** @type {string} */ folder) {
  const boot = join(folder, 'boot');
  return existsSync(boot) ? readdirSync(boot).find((file) => file.startsWith(KERNEL_FILE)) : undefined;
}

/** Moves a kernel that lies with its modules, as Debian's do from 14 on, to where kernelIn() finds it. */
export function kernelFromModules(/** @type {string} */ folder) {
  const modules = ['usr/lib/modules', 'lib/modules'].map((path) => join(folder, path)).filter(existsSync);
  for (const path of modules)
    for (const release of readdirSync(path)) {
      const image = join(path, release, KERNEL_FILE);
      if (!existsSync(image)) continue;
      mkdirSync(join(folder, 'boot'), { recursive: true });
      renameSync(image, join(folder, 'boot', `${KERNEL_FILE}-${release}`));
    }
}

function fetchKernel() {
  const name = concreteKernelPackage();
  const folder = join(cacheFolder(), 'kernel', name);
  if (kernelIn(folder) === undefined) {
    const partial = `${folder}.${process.pid}.partial`;
    try {
      timed(`fetching the guest kernel ${name}`, () => {
        aptUnpack(name, partial);
        if (kernelIn(partial) !== undefined) return;
        const binary = kernelBinaryPackage(output('apt-cache', ['depends', '--important', name]));
        if (binary === undefined) return;
        aptUnpack(binary, partial);
        kernelFromModules(partial);
      });
      // before it is in the cache
      if (kernelIn(partial) === undefined)
        throw new SetupError(
          `neither ${name} nor a linux-binary-* that it depends on holds ${KERNEL_FILE}; ` +
            'name a kernel: TURNKEY_KERNEL=FILE',
        );
      // modules are not used
      for (const left of ['lib', 'usr']) rmSync(join(partial, left), { recursive: true, force: true });
      rmSync(folder, { recursive: true, force: true });
      renameSync(partial, folder);
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }
  remember({ kernel: join(folder, 'boot', kernelIn(folder) ?? ''), kernelPackage: name });
}

function fetchBusybox() {
  const folder = join(cacheFolder(), 'busybox');
  timed('fetching busybox-static for the guest', () => {
    aptUnpack('busybox-static', folder);
  });
  const path = [join(folder, 'bin', 'busybox'), join(folder, 'usr', 'bin', 'busybox')].find(readable);
  if (path === undefined) throw new SetupError('busybox-static holds no busybox');
  remember({ busybox: path });
}

/**
 * Makes sure of everything that is needed to build and run; says what it will install before it does.
 * Throws SetupError with the one command to run where this user may not install, or with what is missing under
 * TURNKEY_NO_INSTALL=1.
 * With `lane` (of CROSS_LANES): of what that lane alone needs.
 */
/** @param {{ lane?: CrossLane, emulated?: boolean }} options */
export function ensurePrerequisites(options = {}) {
  const { lane, emulated = lane === undefined && emulatedWanted() } = options;
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new SetupError(`this runs on Linux on x86-64 only, not on ${process.platform} on ${process.arch}`);
  if (major < 20) throw new SetupError(`Node ${process.versions.node} is too old: 20 or later is needed`);

  const missing = lane === undefined ? missingPackages(emulated) : missingForLane(lane);
  const packages = missing.filter(({ optional }) => !optional);
  const extras = missing.filter(({ optional }) => optional);
  const extrasWanted = extras.length > 0 && mayInstall() && isRoot() && onPath('apt-get');
  if (extras.length > 0 && !extrasWanted) {
    say(
      `going on without ${extras.map(({ package: name, why }) => `${name} (${why})`).join(' and ')}: ` +
        (mayInstall()
          ? `install with: sudo apt-get install ${extras.map(({ package: name }) => name).join(' ')}`
          : 'TURNKEY_NO_INSTALL is set'),
    );
  }
  const npmMissing = lane === undefined && !npmPackagesThere();
  const kernelMissing = emulated && !kernelThere();
  const busyboxMissing = emulated && !busyboxThere();
  const plan = [
    ...packages.map(({ package: name, why }) => `Debian package ${name}: ${why}`),
    ...(extrasWanted ? extras.map(({ package: name, why }) => `Debian package ${name}: ${why}`) : []),
    ...(npmMissing ? ['npm packages of package-lock.json, into node_modules'] : []),
    ...(kernelMissing ? [`a guest kernel, unpacked into ${cacheFolder()}, not installed`] : []),
    ...(busyboxMissing ? [`busybox-static, unpacked into ${cacheFolder()}, not installed`] : []),
  ];
  if (plan.length === 0) return;
  if (!mayInstall())
    throw new SetupError(
      `TURNKEY_NO_INSTALL is set, and this is missing:\n${plan.map((line) => `  - ${line}`).join('\n')}`,
    );
  const names = packages.map(({ package: name }) => name);
  if (names.length > 0 && !isRoot()) {
    throw new SetupError(
      'these Debian packages are ' +
        `missing:\n${packages.map(({ package: name, why }) => `  - ${name}: ${why}`).join('\n')}\nrun this once, ` +
        `then try again:\n  sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends ` +
        `${names.join(' ')}'`,
    );
  }
  if ((names.length > 0 || kernelMissing || busyboxMissing) && !onPath('apt-get'))
    throw new SetupError(
      `this is missing, and there is no apt-get to get it with:\n${plan.map((line) => `  - ${line}`).join('\n')}`,
    );
  say(`this is missing and will be installed now:\n${plan.map((line) => `  - ${line}`).join('\n')}`);
  if (names.length > 0)
    timed('installing Debian packages', () => {
      aptInstall(names);
    });
  if (extrasWanted) {
    try {
      timed('installing Debian packages for turnkey-lua', () => {
        aptInstall(extras.map(({ package: name }) => name));
      });
    } catch (error) {
      say(`going on without turnkey-lua: ${String(error instanceof Error ? error.message : error).split('\n')[0]}`);
    }
  }
  if (npmMissing)
    timed('installing npm packages', () => runQuietly('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']));
  if (kernelMissing || busyboxMissing) mkdirSync(cacheFolder(), { recursive: true });
  if (kernelMissing) fetchKernel();
  if (busyboxMissing) fetchBusybox();
}

/** Is the emulated lane wanted here? */
export function emulatedWanted() {
  if (process.env.TURNKEY_NO_EMULATED && process.env.TURNKEY_NO_EMULATED !== '0') return false;
  return !hostHasKeys() || process.env.TURNKEY_REQUIRE_EMULATED === '1';
}

// ---- building -------------------------------------------------------------------------------------------------------

/** @returns {string[]} */
function filesBelow(/** @type {string} */ path) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (statSync(full).isFile()) return [full];
  return readdirSync(full, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => filesBelow(join(path, entry.name)));
}

/** A digest of the names and contents of these files and folders. */
function digest(/** @type {readonly string[]} */ paths, more = '') {
  const hash = createHash('sha256').update(more);
  for (const file of paths.flatMap(filesBelow))
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update('\0');
  return hash.digest('hex');
}

/** Runs `build` unless the stamp says that it was run for the same sources. */
function unlessBuilt(
  /** @type {string} */ stamp,
  /** @type {string} */ wanted,
  /** @type {string} */ what,
  /** @type {() => void} */ build,
) {
  const path = join(root, stamp);
  if (existsSync(path) && readFileSync(path, 'utf8') === wanted) return;
  rmSync(path, { force: true });
  timed(`building ${what}`, build);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, wanted);
}

const NATIVE_SOURCES = ['CMakeLists.txt', 'cmake', 'native', 'experiments/vm', 'package-lock.json'];
/** Built with the C layers' tests, against an installed copy of them. */
const CONSUMER_SOURCES = ['examples', 'test/consumer'];
/** What else the build depends on: turnkey-lua is built where Lua and libffi are. */
const nativeExtras = () =>
  String(
    missingPackages(false)
      .filter(({ optional }) => optional)
      .map(({ package: name }) => name),
  );

/** Builds the addon, the libraries and the guest's programs where their sources have changed. */
export function buildNative() {
  unlessBuilt('build/.turnkey-stamp', digest(NATIVE_SOURCES, nativeExtras()), 'the native parts (cmake-js)', () => {
    const cmakeJs = (/** @type {string[]} */ ...args) =>
      runQuietly(process.execPath, [
        join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js'),
        ...args,
        '--log-level',
        'warn',
      ]);
    // the libraries that tests call; an older build folder may say otherwise
    cmakeJs('configure', '--CDTURNKEY_TESTS=ON');
    cmakeJs('build', '--parallel', '2');
  });
}

/** Builds the TypeScript parts where they have changed. What was compiled before goes: no test outlives its source. */
export function buildTypeScript() {
  unlessBuilt(
    'dist/.turnkey-stamp',
    digest([
      'tsconfig.json',
      'package-lock.json',
      'src',
      'experiments',
      'test',
      'scripts/bundle.mjs',
      'scripts/test-bundles.mjs',
      'scripts/vendor.mjs',
    ]),
    'the TypeScript parts',
    () => {
      rmSync(join(root, 'dist'), { recursive: true, force: true });
      const [node = '', ...compiler] = TSC;
      runQuietly(node, [...compiler, '-p', 'tsconfig.json']);
      runQuietly(process.execPath, [join(root, 'scripts', 'bundle.mjs')]);
    },
  );
}

/** Builds the C layers and their tests without Node, by plain CMake. Returns the build folder. */
export function buildNativeTests() {
  const folder = join(root, 'build-c');
  unlessBuilt(
    'build-c/.turnkey-stamp',
    digest([...NATIVE_SOURCES, ...CONSUMER_SOURCES], nativeExtras()),
    'the C layers and their tests (CMake)',
    () => {
      runQuietly('cmake', ['-S', '.', '-B', folder, '-DCMAKE_BUILD_TYPE=Release']);
      runQuietly('cmake', ['--build', folder, '--target', 'turnkey_tests', '-j', '2']);
    },
  );
  return folder;
}

/** Cross-compiles the C layers and their tests for a lane of CROSS_LANES. Returns the build folder. */
export function buildCross(/** @type {CrossLane} */ lane) {
  const { what, folder: name, toolchain, options } = CROSS_LANES[lane];
  const folder = join(root, name);
  unlessBuilt(
    join(name, '.turnkey-stamp'),
    digest([...NATIVE_SOURCES, ...CONSUMER_SOURCES], options.join()),
    `the C layers and their tests for ${what} (CMake)`,
    () => {
      runQuietly('cmake', [
        '-S',
        '.',
        '-B',
        folder,
        `-DCMAKE_TOOLCHAIN_FILE=${join(root, 'cmake', toolchain)}`,
        '-DCMAKE_BUILD_TYPE=Release',
        ...options,
      ]);
      runQuietly('cmake', ['--build', folder, '-j', '2']);
    },
  );
  return folder;
}

/**
 * buildNativeTests in a process of its own, beside what this one does meanwhile. Resolves with the build folder;
 * rejects with SetupError once that process has said what went wrong.
 * @returns {Promise<string>}
 */
export function buildNativeTestsBeside() {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'scripts', 'setup.mjs'), 'native-tests'], { stdio: 'inherit' });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code === 0) resolve(join(root, 'build-c'));
      else reject(new SetupError('the C layers and their tests could not be built'));
    });
  });
}

/** Everything that `npm start` needs. */
export function setUp() {
  ensurePrerequisites();
  buildNative();
  buildTypeScript();
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    if (process.argv[2] === 'native-tests') buildNativeTests();
    else {
      setUp();
      say('set up');
    }
  } catch (error) {
    fail(error);
  }
}
