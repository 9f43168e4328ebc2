/**
 * The fault record: struct trap_fault of native/trap/trap.h, little-endian. A record is copied once, at the fault; its
 * fields are decoded when somebody asks.
 */
import { binding } from './binding.js';
import { systemCallName } from './system-calls.js';

/** Where the fields lie: the addon tells, as the C compiler laid them out. */
export const recordLayout = binding.recordLayout;
const AT = recordLayout;

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

/** A copied record: its fields up to the last word of its stack. */
export interface CopiedRecord {
  readonly words: Uint32Array;
  /** Index of its first word. */
  readonly start: number;
}

/** Bytes in a word of `words`. */
export const WORD = 4;

/** A view of one copied record. Words, not a DataView: making one would cost more than reading a field does. */
export class FaultRecord {
  readonly #words: Uint32Array;
  readonly #start: number;

  constructor({ words, start }: CopiedRecord) {
    this.#words = words;
    this.#start = start;
  }

  /* At `at` bytes from the record's beginning. */
  #uint32(at: number): number {
    return this.#words[this.#start + at / WORD] as number;
  }
  #int32(at: number): number {
    return this.#uint32(at) | 0;
  }
  #uint64(at: number): bigint {
    return (BigInt(this.#uint32(at + WORD)) << 32n) | BigInt(this.#uint32(at));
  }

  get phase(): Phase {
    return PHASES[this.#uint32(AT.phase)] ?? 'call';
  }
  get signal(): number {
    return this.#int32(AT.signal);
  }
  get code(): number {
    return this.#int32(AT.code);
  }
  get address(): bigint {
    return this.#uint64(AT.address);
  }
  get pc(): bigint {
    return this.#uint64(AT.pc);
  }
  get access(): Access {
    return ACCESSES[this.#uint32(AT.access)] ?? 'unknown';
  }
  /** The page's key as the kernel reported it, or -1. */
  get pkey(): number {
    return this.#int32(AT.pkey);
  }
  get threadId(): number {
    return this.#int32(AT.threadId);
  }
  get depth(): number {
    return this.#uint32(AT.depth);
  }
  get function(): bigint {
    return this.#uint64(AT.function);
  }
  get inSpace(): boolean {
    return this.#uint32(AT.spaceFound) !== 0;
  }
  get imageId(): number {
    return this.#uint32(AT.spaceImageId);
  }
  get spaceOffset(): bigint {
    return this.#uint64(AT.spaceOffset);
  }
  get spaceName(): string {
    let name = '';
    for (let i = AT.spaceName; i < AT.errorCode; i++) {
      const byte = (this.#uint32(i - (i % WORD)) >>> (8 * (i % WORD))) & 0xff;
      if (byte === 0) break;
      name += String.fromCharCode(byte);
    }
    return name;
  }
  /** The key of the space at the fault: 0 for pages closed by their access, -1 outside spaces. */
  get spaceKey(): number {
    return this.#int32(AT.spaceKey);
  }
  /** How often the space got another key between the fault and its record. */
  get spaceMoves(): number {
    return this.#uint32(AT.spaceMoves);
  }
  get pageFaultCode(): bigint {
    return this.#uint64(AT.errorCode);
  }
  get trapNumber(): bigint {
    return this.#uint64(AT.trapNumber);
  }
  get pkru(): number {
    return this.#uint32(AT.pkru);
  }
  get flags(): number {
    return this.#uint32(AT.flags);
  }
  get mechanismHeld(): boolean {
    return this.#uint32(AT.mechanismHeld) !== 0;
  }

  get registers(): Readonly<Record<RegisterName, bigint>> {
    const result: Partial<Record<RegisterName, bigint>> = {};
    REGISTERS.forEach((name, index) => {
      result[name] = this.#uint64(AT.registers + 8 * index);
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
    const count = Math.min(this.#uint32(AT.stackWords), 64);
    return Array.from({ length: count }, (_, index) => this.#uint64(AT.stack + 8 * index));
  }
}
