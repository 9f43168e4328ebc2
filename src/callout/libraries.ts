/**
 * The libraries of one guard: loaded and unloaded as callouts, since constructors and destructors are foreign code too.
 */
import { bareClose, bareOpen } from './bare.js';
import { binding, type Policy } from './binding.js';
import type { Entry } from './callee.js';
import type { Called, CalloutError } from './error.js';
import type { GuardedFunction, MadeFunction } from './function.js';
import { GuardedLibrary, type LoadOptions } from './library.js';
import { whenOutside } from './lifetime.js';
import { endEpoch } from './modules.js';
import { type Declaration, parseDeclaration } from './prototype.js';
import type { CopiedRecord } from './record.js';
import { RECORD_BYTES } from './record.js';
import { scanBeforeLoading, type ScanMode } from './scanning.js';
import { wholeRecord } from './thread.js';
import { InUse } from './vm.js';

const RTLD_LAZY = 1;
const RTLD_NOW = 2;
const RTLD_DEEPBIND = 8;
const RTLD_GLOBAL = 0x100;
export const RTLD_DEFAULT = 0n;

interface OpenLibrary {
  readonly handle: bigint;
  readonly functions: MadeFunction[];
  readonly use: InUse;
}

/** What the libraries need of their guard. */
export interface LibrariesHost {
  /** What loading does about instructions that write rights, where its options do not say. */
  readonly scan: ScanMode;
  /** False: loading passes no gate. */
  readonly guarded: boolean;
  readonly policy: Policy;
  requireOpen(): void;
  make(declaration: Declaration, address: bigint, library: string | undefined, use: InUse): MadeFunction;
  fail(record: CopiedRecord, called: Called, args: readonly unknown[], entry: Entry): CalloutError;
}

export class Libraries {
  readonly #host: LibrariesHost;
  readonly #open = new Map<GuardedLibrary, OpenLibrary>();

  constructor(host: LibrariesHost) {
    this.#host = host;
  }

  /** `entry`: the function whose caller an error names. */
  load(path: string | null, options: LoadOptions, entry: Entry): GuardedLibrary {
    this.#host.requireOpen();
    if (path !== null && (typeof path !== 'string' || path === ''))
      throw new TypeError(`Unexpected ${path === '' ? 'empty' : typeof path} value for path, expected string or null`);
    const library: GuardedLibrary = new GuardedLibrary(path, {
      makeFunction: (of, forms) => this.#makeFunction(of, forms),
      findSymbol: (of, name) => this.#findSymbol(of, name),
      unload: (of) => this.#unload(of),
    });
    if (path !== null) scanBeforeLoading(path, options.scan ?? this.#host.scan);
    const handle = path === null ? RTLD_DEFAULT : this.#dlopen(path, options, entry);
    this.#open.set(library, { handle, functions: [], use: new InUse() });
    return library;
  }

  /** From now on every function of every library fails with `reason`. */
  retire(reason: string): void {
    for (const { functions } of this.#open.values()) for (const made of functions) made.retire(reason);
  }

  #dlopen(path: string, options: LoadOptions, entry: Entry): bigint {
    const flags =
      (options.lazy === true ? RTLD_LAZY : RTLD_NOW) |
      (options.global === true ? RTLD_GLOBAL : 0) |
      (options.deep === true ? RTLD_DEEPBIND : 0);
    const record = new Uint8Array(RECORD_BYTES);
    const opened = this.#host.guarded ? binding.dlopen(path, flags, this.#host.policy, record) : bareOpen(path, flags);
    if (typeof opened === 'bigint') return opened;
    if (opened === undefined)
      throw this.#host.fail(wholeRecord(record), { name: 'dlopen', library: path }, [path], entry);
    throw new Error(
      `cannot load library '${path}': ${opened}. Check the name, or give a full path; the loader looks in ` +
        'LD_LIBRARY_PATH and the ldconfig cache',
    );
  }

  #opened(library: GuardedLibrary): OpenLibrary {
    this.#host.requireOpen();
    const open = this.#open.get(library);
    if (open === undefined) throw new Error(`library ${nameOf(library)} was unloaded`);
    return open;
  }

  #findSymbol(library: GuardedLibrary, name: string): bigint {
    const { handle } = this.#opened(library);
    if (typeof name !== 'string') throw new TypeError(`Unexpected ${typeof name} value for name, expected string`);
    const address = binding.dlsym(handle, name);
    if (address === 0n) {
      throw new Error(
        `Cannot find symbol '${name}' in ` +
          `${library.path === null ? 'the program' : `library '${library.path}'`}; 'nm -D' on the file lists ` +
          'what it exports',
      );
    }
    return address;
  }

  #makeFunction(library: GuardedLibrary, forms: readonly unknown[]): GuardedFunction {
    const open = this.#opened(library);
    const declaration = parseDeclaration(forms);
    const address = this.#findSymbol(library, declaration.name);
    const made = this.#host.make(declaration, address, library.path ?? undefined, open.use);
    open.functions.push(made);
    return made.call;
  }

  /* JavaScript loses the library at once; dlclose waits until no call is in it. */
  #unload(library: GuardedLibrary): void {
    const open = this.#opened(library);
    for (const made of open.functions) made.retire(`library ${nameOf(library)} was unloaded`);
    this.#open.delete(library);
    if (open.handle !== RTLD_DEFAULT) whenOutside(open.use, () => this.#dlclose(library, open.handle));
  }

  #dlclose(library: GuardedLibrary, handle: bigint): void {
    endEpoch();
    const record = new Uint8Array(RECORD_BYTES);
    const closed = this.#host.guarded ? binding.dlclose(handle, this.#host.policy, record) : bareClose(handle);
    if (closed === undefined) {
      const called = { name: 'dlclose', library: library.path ?? undefined };
      throw this.#host.fail(wholeRecord(record), called, [], library.unload as Entry);
    }
    if (closed !== true) throw new Error(`cannot unload library ${nameOf(library)}: ${closed}`);
  }
}

function nameOf(library: GuardedLibrary): string {
  return `'${library.path ?? 'the program'}'`;
}
