/**
 * The fault record, as native/trap/trap.h lays it out (struct trap_fault, little-endian; static_assert in trap.c and
 * trap_binding.cc). Read lazily: a record is copied once at the fault, its fields are decoded when somebody asks.
 */

/** Bytes of a record. */
export const RECORD_BYTES = 1024;

/** What `flags` may hold. */
export const FaultFlag = { stackOverflow: 1, abort: 2, unwind: 4 } as const;

export type Phase = 'load' | 'call' | 'decode';
export type Access = 'read' | 'write' | 'execute' | 'unknown';

const PHASES: readonly Phase[] = ['call', 'load', 'decode'];
const ACCESSES: readonly Access[] = ['unknown', 'read', 'write', 'execute'];
const REGISTERS = [
  'rax',
  'rbx',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'rbp',
  'rsp',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rip',
  'rflags',
] as const;

export type RegisterName = (typeof REGISTERS)[number];

/** A view of one copied record: RECORD_BYTES at `offset` of `bytes`. */
export class FaultRecord {
  readonly #view: DataView;

  constructor(bytes: Uint8Array | Uint32Array, offset: number) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_BYTES);
  }

  get phase(): Phase {
    return PHASES[this.#view.getUint32(4, true)] ?? 'call';
  }
  get signal(): number {
    return this.#view.getInt32(8, true);
  }
  get code(): number {
    return this.#view.getInt32(12, true);
  }
  get address(): bigint {
    return this.#view.getBigUint64(16, true);
  }
  get pc(): bigint {
    return this.#view.getBigUint64(24, true);
  }
  get access(): Access {
    return ACCESSES[this.#view.getUint32(32, true)] ?? 'unknown';
  }
  /** The page's key as the kernel reported it, or -1. */
  get pkey(): number {
    return this.#view.getInt32(36, true);
  }
  get threadId(): number {
    return this.#view.getInt32(40, true);
  }
  get depth(): number {
    return this.#view.getUint32(44, true);
  }
  get function(): bigint {
    return this.#view.getBigUint64(48, true);
  }
  get inSpace(): boolean {
    return this.#view.getUint32(64, true) !== 0;
  }
  get imageId(): number {
    return this.#view.getUint32(68, true);
  }
  get spaceOffset(): bigint {
    return this.#view.getBigUint64(72, true);
  }
  get spaceName(): string {
    let name = '';
    for (let i = 80; i < 112; i++) {
      const byte = this.#view.getUint8(i);
      if (byte === 0) break;
      name += String.fromCharCode(byte);
    }
    return name;
  }
  get pageFaultCode(): bigint {
    return this.#view.getBigUint64(112, true);
  }
  get trapNumber(): bigint {
    return this.#view.getBigUint64(120, true);
  }
  get pkru(): number {
    return this.#view.getUint32(320, true);
  }
  get flags(): number {
    return this.#view.getUint32(324, true);
  }
  get mechanismHeld(): boolean {
    return this.#view.getUint32(340, true) !== 0;
  }

  get registers(): Readonly<Record<RegisterName, bigint>> {
    const result: Partial<Record<RegisterName, bigint>> = {};
    REGISTERS.forEach((name, index) => {
      result[name] = this.#view.getBigUint64(128 + 8 * index, true);
    });
    return result as Record<RegisterName, bigint>;
  }

  /** Values found on the foreign stack that point into code, innermost first. */
  get stack(): readonly bigint[] {
    const count = Math.min(this.#view.getUint32(336, true), 64);
    return Array.from({ length: count }, (_, index) => this.#view.getBigUint64(344 + 8 * index, true));
  }
}
