/**
 * What is tried after a callout has failed, before a verdict is given: a host that hangs or breaks at the next malloc
 * has not been saved. A step that hangs is ended by the tracing runner's time limit, and the trial is `hung`.
 */
import { CalloutError } from '../callout/index.js';
import type { ForeignFunction, ForeignLibrary } from '../experiment/case.js';
import { BUILT, inProject } from '../record/paths.js';
import type { AftermathStep } from '../record/records.js';

/** What the aftermath needs of its trial. */
export interface AftermathHost {
  /** Loads a library through the trial's guard. */
  load(name: string): ForeignLibrary;
  /** Walks the heap; one sentence of what it found. */
  verify(): string;
  /** The addresses of functions made by `load(...).func` may be called on another thread. */
  onThread(fn: ForeignFunction, ...args: readonly unknown[]): Promise<unknown>;
}

// thread cache, bins, mmap
const SIZES: readonly number[] = [1, 24, 100, 1000, 1032, 1040, 4000, 4096, 10_000, 70_000, 200_000, 1 << 20];

function collectGarbage(): void {
  const collect = (globalThis as { gc?: () => void }).gc;
  if (collect === undefined) throw new Error('node was not started with --expose-gc');
  collect();
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** Runs all steps, one after the other. Never throws. */
export async function aftermath(host: AftermathHost): Promise<readonly AftermathStep[]> {
  const steps: AftermathStep[] = [];
  const step = async (name: string, work: () => unknown): Promise<void> => {
    try {
      const detail = await work();
      steps.push({ step: name, ok: true, detail: typeof detail === 'string' ? detail : '' });
    } catch (error) {
      steps.push({
        step: name,
        ok: false,
        detail:
          error instanceof CalloutError
            ? `callout failed: ${error.message}`
            : error instanceof Error
              ? error.message
              : String(error),
      });
    }
  };
  await step('allocation by the host', () => {
    /*
     * Filled and compared by memset and memcmp: a loop in JavaScript would cost more than the rest of the trial in the
     * emulated lane.
     */
    const buffers = [...SIZES, ...SIZES].map((bytes) => Buffer.allocUnsafeSlow(bytes).fill(bytes & 0xff));
    check(
      buffers.every((buffer, at) => at < SIZES.length || buffer.equals(buffers[at - SIZES.length] ?? buffer)),
      'a buffer did not keep its bytes',
    );
  });
  let libc: ForeignLibrary | undefined;
  let malloc: ForeignFunction | undefined;
  let free: ForeignFunction | undefined;
  await step('allocation by foreign code', () => {
    libc = host.load('libc.so.6');
    const allocate = (malloc = libc.func('uintptr_t malloc(size_t bytes)'));
    const release = (free = libc.func('void free(uintptr_t pointer)'));
    for (let round = 0; round < 2; round++) {
      const pointers = SIZES.map((bytes) => allocate(bytes));
      check(
        pointers.every((pointer) => BigInt(pointer as bigint) !== 0n),
        'malloc gave nothing',
      );
      for (const pointer of pointers) release(pointer);
    }
  });
  await step('stdio', () => {
    const c = libc ?? host.load('libc.so.6');
    const file = c.func('uintptr_t tmpfile(void)')();
    check(BigInt(file as bigint) !== 0n, 'tmpfile gave nothing');
    check(Number(c.func('int fputs(const char *text, uintptr_t file)')('after', file)) >= 0, 'fputs failed');
    check(Number(c.func('int fclose(uintptr_t file)')(file)) === 0, 'fclose failed');
    check(Number(c.func('int fflush(uintptr_t file)')(0)) === 0, 'fflush failed');
  });
  await step('dlopen', () => {
    process.env['TURNKEY_FOREIGN_CTOR'] = 'none';
    check(
      Number(host.load(inProject(BUILT.foreignConstructor)).func('int foreign_ctor_loaded(void)')()) === 1,
      'the library does not answer',
    );
  });
  await step('garbage collection', collectGarbage);
  await step('image.verify()', () => host.verify());
  let add: ForeignFunction | undefined;
  await step('an honest callout', () => {
    const foreign = host.load(inProject(BUILT.foreign));
    add = foreign.func('int foreign_add(int a, int b)');
    check(add(20, 22) === 42, 'wrong sum');
    const bytes = Buffer.from('turnkey');
    let hash = 0xcbf29ce484222325n;
    for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    check(
      BigInt(
        foreign.func('uint64_t foreign_checksum(const uint8_t *bytes, uint64_t count)')(bytes, bytes.length) as bigint,
      ) === hash,
      'wrong checksum',
    );
  });
  await step('on another thread', async () => {
    if (add === undefined || malloc === undefined || free === undefined) throw new Error('not reached on this one');
    check((await host.onThread(add, 1, 2)) === 3, 'wrong sum');
    for (const bytes of SIZES) await host.onThread(free, await host.onThread(malloc, bytes));
  });
  return steps;
}
