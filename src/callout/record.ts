/**
 * The fault record: struct trap_fault of native/trap/trap.h, little-endian. A record is copied once, at the fault; its
 * fields are decoded when somebody asks.
 */
import { binding } from './binding.js';
import { systemCallName } from './system-calls.js';

/** Where the fields lie: the addon tells, as the C compiler laid them out. */
const AT = binding.recordLayout;

/** Bytes of a record. */
export const RECORD_BYTES = AT.bytes;

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

/** A system call that a callee made, and that was refused. */
export interface SystemCall {
  /** 'munmap'. */
  readonly name: string;
  readonly number: number;
  readonly arguments: readonly bigint[];
}

const SIGSYS = 31;

export type RegisterName = (typeof REGISTERS)[number];

/** A view of one copied record: RECORD_BYTES at `offset` of `bytes`. */
export class FaultRecord {
  readonly #view: DataView;

  constructor(bytes: Uint8Array | Uint32Array, offset: number) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_BYTES);
  }

  get phase(): Phase {
    return PHASES[this.#view.getUint32(AT.phase, true)] ?? 'call';
  }
  get signal(): number {
    return this.#view.getInt32(AT.signal, true);
  }
  get code(): number {
    return this.#view.getInt32(AT.code, true);
  }
  get address(): bigint {
    return this.#view.getBigUint64(AT.address, true);
  }
  get pc(): bigint {
    return this.#view.getBigUint64(AT.pc, true);
  }
  get access(): Access {
    return ACCESSES[this.#view.getUint32(AT.access, true)] ?? 'unknown';
  }
  /** The page's key as the kernel reported it, or -1. */
  get pkey(): number {
    return this.#view.getInt32(AT.pkey, true);
  }
  get threadId(): number {
    return this.#view.getInt32(AT.threadId, true);
  }
  get depth(): number {
    return this.#view.getUint32(AT.depth, true);
  }
  get function(): bigint {
    return this.#view.getBigUint64(AT.function, true);
  }
  get inSpace(): boolean {
    return this.#view.getUint32(AT.spaceFound, true) !== 0;
  }
  get imageId(): number {
    return this.#view.getUint32(AT.spaceImageId, true);
  }
  get spaceOffset(): bigint {
    return this.#view.getBigUint64(AT.spaceOffset, true);
  }
  get spaceName(): string {
    let name = '';
    for (let i = AT.spaceName; i < AT.errorCode; i++) {
      const byte = this.#view.getUint8(i);
      if (byte === 0) break;
      name += String.fromCharCode(byte);
    }
    return name;
  }
  get pageFaultCode(): bigint {
    return this.#view.getBigUint64(AT.errorCode, true);
  }
  get trapNumber(): bigint {
    return this.#view.getBigUint64(AT.trapNumber, true);
  }
  get pkru(): number {
    return this.#view.getUint32(AT.pkru, true);
  }
  get flags(): number {
    return this.#view.getUint32(AT.flags, true);
  }
  get mechanismHeld(): boolean {
    return this.#view.getUint32(AT.mechanismHeld, true) !== 0;
  }

  get registers(): Readonly<Record<RegisterName, bigint>> {
    const result: Partial<Record<RegisterName, bigint>> = {};
    REGISTERS.forEach((name, index) => {
      result[name] = this.#view.getBigUint64(AT.registers + 8 * index, true);
    });
    return result as Record<RegisterName, bigint>;
  }

  /** The system call that raised SIGSYS: number, and arguments as the kernel would have got them. */
  get systemCall(): SystemCall | undefined {
    if (this.signal !== SIGSYS) return undefined;
    const { rax, rdi, rsi, rdx, r10, r8, r9 } = this.registers;
    const number = Number(BigInt.asIntN(32, rax));
    return { name: systemCallName(number), number, arguments: [rdi, rsi, rdx, r10, r8, r9] };
  }

  /** Values found on the foreign stack that point into code, innermost first. */
  get stack(): readonly bigint[] {
    const count = Math.min(this.#view.getUint32(AT.stackWords, true), 64);
    return Array.from({ length: count }, (_, index) => this.#view.getBigUint64(AT.stack + 8 * index, true));
  }
}
