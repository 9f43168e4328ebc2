// Which files travel into the guest: the runtime, the built project at the same paths as outside, and the files that
// the user names. Programs and libraries bring along the shared libraries that they need.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

import { nativeFolder } from '../root.js';
import type { CpioEntry } from './cpio.js';
import { MachineError } from './errors.js';
import { findBusybox, projectRoot } from './locate.js';

/** What to put into a guest. */
export interface GuestContents {
  /** The Node binary to take along; normally process.execPath. */
  readonly node: string;
  /** Files, folders, or names of shared libraries (`libz.so.1`). */
  readonly extraFiles: readonly string[];
  /** Folders to make, empty where nothing else fills them. */
  readonly folders: readonly string[];
}

/** Types, maps, sources and prose: nothing that runs. */
const LEFT_OUT = /\.(d\.[cm]?ts|[cm]?ts|map|md|markdown|c|cc|cpp|h|hh|hpp|inc|S|asm|a|o|obj|tsbuildinfo)$/;

/** Collects entries; each path once, parents first, links with what they point to. */
class Collector {
  readonly #entries = new Map<string, CpioEntry>();
  readonly #programs = new Set<string>();

  /** Puts an entry and the folders above it. An earlier one of the same path stays. */
  put(entry: CpioEntry): void {
    if (this.#entries.has(entry.path)) return;
    const parent = dirname(entry.path);
    if (parent !== entry.path) this.put({ kind: 'folder', path: parent });
    if (entry.path !== '/') this.#entries.set(entry.path, entry);
  }

  /** Adds a host file or folder under its own path: every link on the way becomes a link in the guest. */
  add(path: string, filter: (path: string) => boolean = () => true): void {
    const real = this.#follow(resolve(path));
    const state = statSync(real);
    if (state.isDirectory()) {
      this.put({ kind: 'folder', path: real, mode: state.mode & 0o7777 });
      for (const name of readdirSync(real).sort()) {
        const child = join(real, name);
        if (!filter(child)) continue;
        const childState = lstatSync(child);
        if (childState.isSymbolicLink() && !existsSync(child)) continue;
        if (!this.#entries.has(child) || childState.isDirectory()) this.add(child, filter);
      }
    } else if (state.isFile()) this.copy(real, real);
  }

  /** Adds a host file under another path. */
  copy(from: string, path: string): void {
    const state = statSync(from);
    this.put({ kind: 'copy', path, from, sizeBytes: state.size, mode: state.mode & 0o7777 });
    if (isElf(from)) this.#programs.add(from);
  }

  /** Adds the shared libraries that the programs and libraries so far need. */
  addLibraries(): void {
    const programs = [...this.#programs];
    this.#programs.clear();
    if (programs.length === 0) return;
    const { stdout } = spawnSync('ldd', programs, {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      maxBuffer: 1 << 26,
    }) as { readonly stdout: string | null }; // null where there is no ldd
    for (const line of (stdout ?? '').split('\n')) {
      const path = /^\s+(?:\S+ => )?(\/\S+) \(0x/.exec(line)?.[1];
      if (path !== undefined) this.add(path);
    }
    this.#programs.clear();
  }

  /** Resolves links component by component, putting each into the guest. */
  #follow(path: string): string {
    let at = '/';
    let rest = path.split('/').filter((part) => part !== '');
    for (let hops = 0; rest.length > 0;) {
      const part = rest.shift() ?? '';
      const next = join(at, part);
      if (lstatSync(next).isSymbolicLink()) {
        if (++hops > 40) throw new MachineError('ERR_MACHINE_NO_FILE', `too many links in ${path}`);
        const target = readlinkSync(next);
        this.put({ kind: 'link', path: next, target });
        const full = resolve(at, target)
          .split('/')
          .filter((each) => each !== '');
        rest = [...full, ...rest];
        at = '/';
      } else at = next;
    }
    return at;
  }

  all(): CpioEntry[] {
    return [...this.#entries.values()];
  }
}

function isElf(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(4);
    return readSync(fd, head, 0, 4, 0) === 4 && head.toString('latin1') === '\x7fELF';
  } finally {
    closeSync(fd);
  }
}

/** The path of a shared library by its name, from the loader's cache. */
function findLibrary(name: string): string | undefined {
  const ldconfig = ['/sbin/ldconfig', '/usr/sbin/ldconfig'].find((path) => existsSync(path)) ?? 'ldconfig';
  const listing = execFileSync(ldconfig, ['-p'], { encoding: 'utf8' });
  for (const line of listing.split('\n')) {
    const [, found, path] = /^\s+(\S+) \([^)]*x86-64[^)]*\) => (\/\S+)$/.exec(line) ?? [];
    if (found === name) return path;
  }
  return undefined;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** The folders of the packages that `names` need at run time, found as Node's resolution finds them. */
function packageFolders(root: string, names: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (from: string, name: string): void => {
    if (name.startsWith('@types/')) return;
    for (let folder = from; ; folder = dirname(folder)) {
      const candidate = join(folder, 'node_modules', name);
      if (existsSync(join(candidate, 'package.json'))) {
        const real = realpathSync(candidate);
        if (found.has(real)) return;
        found.add(real);
        const manifest = JSON.parse(readFileSync(join(real, 'package.json'), 'utf8')) as Manifest;
        for (const next of Object.keys({
          ...manifest.dependencies,
          ...manifest.optionalDependencies,
          ...manifest.peerDependencies,
        }))
          visit(real, next);
        return;
      }
      if (folder === dirname(folder)) return; // an optional one for another system
    }
  };
  for (const name of names) visit(root, name);
  return [...found];
}

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n';
const GROUP = 'root:x:0:\nnogroup:x:65534:\n';

/**
 * Every file of the guest. Throws MachineError: ERR_MACHINE_NOT_BUILT where the guest programs are missing,
 * ERR_MACHINE_NO_FILE for a named file, folder or library that does not exist.
 */
export function guestEntries(contents: GuestContents): CpioEntry[] {
  const root = projectRoot();
  const native = nativeFolder(root);
  const release = join(root, native);
  const collector = new Collector();
  const put = (entry: CpioEntry): void => {
    collector.put(entry);
  };

  put({ kind: 'character-device', path: '/dev/console', major: 5, minor: 1, mode: 0o600 });
  put({ kind: 'character-device', path: '/dev/null', major: 1, minor: 3, mode: 0o666 });
  for (const path of ['/proc', '/sys', '/root', '/run', '/var/tmp']) put({ kind: 'folder', path });
  put({ kind: 'folder', path: '/tmp', mode: 0o1777 });
  put({ kind: 'content', path: '/etc/passwd', content: PASSWD });
  put({ kind: 'content', path: '/etc/group', content: GROUP });
  put({ kind: 'content', path: '/etc/hosts', content: '127.0.0.1 localhost turnkey\n::1 localhost\n' });
  put({ kind: 'content', path: '/etc/nsswitch.conf', content: 'passwd: files\ngroup: files\nhosts: files\n' });

  for (const [program, path] of [
    ['turnkey-agent', '/init'],
    ['turnkey-conformance', '/turnkey/conformance'],
  ] as const) {
    const file = join(release, program);
    if (!existsSync(file)) throw new MachineError('ERR_MACHINE_NOT_BUILT', `${file} is missing; run \`npm run build\``);
    collector.copy(file, path);
  }

  // A distribution that has merged /bin into /usr/bin is copied as such.
  for (const path of ['/bin', '/sbin', '/lib', '/lib64']) {
    if (existsSync(path) && lstatSync(path).isSymbolicLink()) put({ kind: 'link', path, target: readlinkSync(path) });
    put({ kind: 'folder', path: realpathSync(existsSync(path) ? path : '/') });
  }

  const busybox = findBusybox();
  if (busybox !== undefined) collector.copy(busybox, '/turnkey/busybox');
  collector.add(contents.node);
  put({ kind: 'link', path: '/usr/local/bin/node', target: realpathSync(contents.node) });

  // glibc loads this one by itself, when a thread exits by cancellation or pthread_exit.
  const libgcc = findLibrary('libgcc_s.so.1');
  if (libgcc !== undefined) collector.add(libgcc);
  if (existsSync('/etc/ld.so.cache')) collector.add('/etc/ld.so.cache');

  collector.add(join(root, 'package.json'));
  const wanted = (path: string): boolean => !LEFT_OUT.test(path);
  for (const folder of ['dist', 'data', join('test', 'data'), join('experiments', 'vm', 'lua', 'programs')]) {
    if (existsSync(join(root, folder))) collector.add(join(root, folder), wanted);
  }
  // what was built: programs and shared libraries, wherever CMake has put them, and data that they bring along
  const built = (path: string): boolean => {
    const state = statSync(path, { throwIfNoEntry: false });
    if (state?.isDirectory() === true) return basename(path) !== 'CMakeFiles';
    return (
      state?.isFile() === true && wanted(path) && (isElf(path) || (dirname(path) === release && path.endsWith('.json')))
    );
  };
  for (const folder of new Set(['build', native.split('/')[0] ?? '']))
    if (existsSync(join(root, folder))) collector.add(join(root, folder), built);
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  for (const folder of packageFolders(root, Object.keys(manifest.dependencies ?? {}))) {
    collector.add(folder, (path) => basename(path) !== 'node_modules' && wanted(path));
  }

  for (const named of contents.extraFiles) {
    const path = existsSync(named) ? named : named.includes('/') ? undefined : findLibrary(named);
    if (path === undefined)
      throw new MachineError(
        'ERR_MACHINE_NO_FILE',
        `${named} is neither a file, nor a folder, nor a shared library that the loader knows`,
      );
    collector.add(path);
  }
  for (const path of contents.folders) put({ kind: 'folder', path });
  collector.addLibraries();

  if (busybox !== undefined) {
    const { stdout } = spawnSync(busybox, ['--list'], { encoding: 'utf8' }) as { readonly stdout: string | null };
    const bin = existsSync('/bin') && lstatSync('/bin').isSymbolicLink() ? '/usr/bin' : '/bin';
    for (const applet of (stdout ?? '').split('\n').filter((name) => name !== '')) {
      put({ kind: 'link', path: `${bin}/${applet}`, target: '/turnkey/busybox' });
    }
  }
  return collector.all();
}
