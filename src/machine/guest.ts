// One boot of QEMU: the process, the serial line to the agent, frames out with a window, frames in, and signs of life.
// machine.ts decides what to run and what to do when a guest is lost; this file only says that it is.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Duplex } from 'node:stream';

import { MachineError } from './errors.js';
import { encodeFile, encodeFrame, type Frame, FrameReader, FrameType } from './protocol.js';
import { Stopwatch } from './stopwatch.js';

/**
 * `behaviour`: two processors or more, ordinary time. `counting`: one, and CLOCK_MONOTONIC advances 1 ns per
 * instruction.
 */
export type MachineMode = 'behaviour' | 'counting';

/** What QEMU is started with. */
export interface GuestOptions {
  readonly qemu: string;
  readonly kernel: string;
  readonly initramfs: string;
  readonly mode: MachineMode;
  readonly processors: number;
  readonly memoryMiB: number;
  readonly cpu: string;
  /** A guest that says nothing for so long, not counting what QEMU waits for a processor, is stuck. */
  readonly silenceLimitMs?: number;
  readonly onLog: (line: string) => void;
}

/** What the agent says of the guest once it is up. */
export interface Hello {
  readonly protocol: number;
  readonly kernel: string;
  readonly kernelVersion: string;
  readonly processors: number;
  readonly cpu: string;
  readonly cpuFlags: string;
  readonly uptimeMs: number;
  readonly cgroups: boolean;
}

/**
 * An early clock source misleads the counting mode until the kernel has changed to its final one, about 4 s of guest
 * time after boot. Idle guest time passes at once there.
 */
const SETTLE_MS = 4000;
/** Bytes on their way to the guest; its serial driver buffers more than this without loss. */
const WINDOW_BYTES = 16384;
const BOOT_LIMIT_MS = { behaviour: 120_000, counting: 240_000 } as const;
const PING_MS = { behaviour: 2_000, counting: 10_000 } as const;
const SILENCE_LIMIT_MS = { behaviour: 45_000, counting: 120_000 } as const;
const LAST_LINES = 25;
const FILE_CHUNK_BYTES = 32768;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * What the kernel is told beyond what it needs. Counts are comparable only with counts of the same kernel words, so
 * that mode keeps its own.
 *
 * `behaviour`: there is no speculation to guard against. `rep movsb` (297: ERMS) is emulated byte by byte, and the
 * kernel would copy and clear pages by it; programs still see the feature. Not `tsc=reliable`, though reading the HPET
 * is slow: on a busy host the kernel misjudges the counter's frequency, and its clock ran twice too fast.
 *
 * `counting`: norandmaps, since 64 KiB that happen to lie across the end of a page table cost an mprotect pair 4 %
 * more.
 */
const KERNEL_WORDS: Readonly<Record<MachineMode, string>> = {
  behaviour: 'mitigations=off clearcpuid=297',
  counting: `norandmaps TURNKEY_SETTLE_MS=${SETTLE_MS}`,
};

/** QEMU's arguments for these options. */
export function qemuArguments(options: GuestOptions): string[] {
  const counting = options.mode === 'counting';
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...(counting ? ['-accel', 'tcg', '-icount', 'shift=0,sleep=off'] : ['-accel', 'tcg,thread=multi']),
    ...['-cpu', options.cpu, '-smp', String(options.processors), '-m', String(options.memoryMiB)],
    ...['-kernel', options.kernel, '-initrd', options.initramfs],
    // no_timer_check: on a busy host the emulated timer can be late, and the kernel's test of it at boot would panic.
    // NAME=VALUE words that the kernel does not know become the first process's environment
    ...['-append', `console=ttyS0 quiet no_timer_check panic=-1 oops=panic ${KERNEL_WORDS[options.mode]}`],
    ...['-chardev', 'socket,id=agent,fd=3', '-serial', 'stdio', '-serial', 'chardev:agent'],
  ];
}

/** A running guest. */
export class Guest {
  /** Resolves with the reason once the guest is gone; never rejects. */
  readonly ended: Promise<string>;
  /** Milliseconds from start to the agent's first word. */
  bootMs = 0;

  readonly #child: ChildProcess;
  readonly #line: Duplex;
  readonly #reader = new FrameReader();
  readonly #console: string[] = [];
  #queue: Buffer[] = [];
  #sentBytes = 0;
  #acknowledgedBytes = 0;
  readonly #stopwatch: Stopwatch;
  #heard = true;
  #timer: NodeJS.Timeout | undefined;
  #gone: string | undefined;
  #resolveEnded: (reason: string) => void = () => undefined;
  #resolveHello: (hello: Hello) => void = () => undefined;
  #fileTurn: Promise<void> = Promise.resolve();
  readonly #fileWaiters = new Map<number, (errno: number) => void>();
  #nextFile = 1;

  readonly #options: GuestOptions;
  readonly #onFrame: (frame: Frame) => void;

  private constructor(options: GuestOptions, onFrame: (frame: Frame) => void) {
    this.#options = options;
    this.#onFrame = onFrame;
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    // setpriv lets the kernel end QEMU even if this process is killed outright
    const setpriv = existsSync('/usr/bin/setpriv')
      ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL', options.qemu]
      : [options.qemu];
    const [file = options.qemu, ...rest] = [...setpriv, ...qemuArguments(options)];
    this.#child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#line = this.#child.stdio[3] as Duplex;
    running.add(this.#child);
    this.#stopwatch = new Stopwatch(this.pid);
    this.#child.on('error', (error) => {
      this.end(`QEMU could not be started: ${error.message}`);
    });
    this.#child.on('exit', (code, signal) => {
      running.delete(this.#child);
      // let what is still in the pipes come in
      setTimeout(() => {
        this.end(
          signal !== null ? `QEMU was ended by ${signal}` : `the guest ended (QEMU's exit code ${code ?? 'unknown'})`,
        );
      }, 50);
    });
    this.#watchConsole('stdout');
    this.#watchConsole('stderr');
    this.#line.on('error', () => undefined); // the exit says more
    this.#line.on('data', (bytes: Buffer) => {
      this.#receive(bytes);
    });
  }

  /**
   * Boots and waits for the agent. Throws MachineError ERR_MACHINE_BOOT with the last console lines.
   * `onFrame` gets what concerns jobs.
   */
  static async boot(
    options: GuestOptions,
    onFrame: (frame: Frame) => void,
  ): Promise<{ readonly guest: Guest; readonly hello: Hello }> {
    const started = Date.now();
    const guest = new Guest(options, onFrame);
    const limitMs = BOOT_LIMIT_MS[options.mode];
    const callOff = guest.after(limitMs, () => {
      guest.end(`no answer within ${limitMs / 1000} s`);
    });
    const hello = await Promise.race([new Promise<Hello>((resolve) => (guest.#resolveHello = resolve)), guest.ended]);
    callOff();
    if (typeof hello === 'string')
      throw new MachineError(
        'ERR_MACHINE_BOOT',
        `the guest did not boot: ${hello}; kernel ${options.kernel}; the last it said:`,
        guest.lastLines(),
      );
    guest.bootMs = Date.now() - started;
    guest.#watchLife();
    return { guest, hello };
  }

  /** The last console lines, oldest first. */
  lastLines(): readonly string[] {
    return this.#console.length > 0 ? [...this.#console] : ['(nothing)'];
  }

  /** QEMU's process id; -1 where it never started. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Calls back once the guest has had `ms` more, as stopwatch.ts counts. Returns what calls that off. */
  after(ms: number, then: () => void): () => void {
    return this.#stopwatch.after(ms, then);
  }

  get alive(): boolean {
    return this.#gone === undefined;
  }

  /** Queues a frame; it goes out when the guest has room. Dropped once the guest is gone. */
  send(type: number, job: number, payload?: Uint8Array): void {
    if (this.#gone !== undefined) return;
    this.#queue.push(encodeFrame(type, job, payload));
    this.#flush();
  }

  /** Writes a file in the guest; parents are made. Rejects with Error where the guest cannot, or is gone. */
  async writeFile(path: string, content: Uint8Array, mode: number): Promise<void> {
    const before = this.#fileTurn;
    let done: () => void = () => undefined;
    this.#fileTurn = new Promise((resolve) => (done = resolve));
    await before;
    try {
      const id = this.#nextFile++;
      const answer = new Promise<number>((resolve) => this.#fileWaiters.set(id, resolve));
      this.send(FrameType.file, id, encodeFile(path, mode));
      for (let at = 0; at < content.length; at += FILE_CHUNK_BYTES)
        this.send(FrameType.fileData, id, content.subarray(at, at + FILE_CHUNK_BYTES));
      this.send(FrameType.fileEnd, id);
      const errno = await Promise.race([answer, this.ended]);
      this.#fileWaiters.delete(id);
      if (typeof errno === 'string') throw new Error(errno);
      if (errno !== 0) throw new Error(`the guest could not write ${path} (${content.length} bytes): errno ${errno}`);
    } finally {
      done();
    }
  }

  /** Ends the guest at once. */
  end(reason: string): void {
    if (this.#gone !== undefined) return;
    this.#gone = reason;
    clearInterval(this.#timer);
    this.#queue = [];
    this.#child.kill('SIGKILL');
    this.#line.destroy();
    this.#resolveEnded(reason);
  }

  #watchConsole(which: 'stdout' | 'stderr'): void {
    let rest = '';
    this.#child[which]?.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString('latin1').replaceAll('\r', '')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        // oxlint-disable-next-line eslint/no-control-regex -- the firmware writes terminal control sequences
        const text = line.replace(/\x1b[[0-9;?]*[A-Za-z]|\x1bc/g, '').trimEnd();
        if (text === '') continue;
        this.#console.push(text);
        if (this.#console.length > LAST_LINES) this.#console.shift();
        this.#options.onLog(text);
      }
    });
  }

  #receive(bytes: Buffer): void {
    if (this.#gone !== undefined) return;
    this.#heard = true;
    let frames: Frame[];
    try {
      frames = this.#reader.push(bytes);
    } catch (error) {
      this.end(`the line to the guest is damaged: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    for (const frame of frames) {
      if (frame.type === FrameType.ack) {
        this.#acknowledgedBytes = frame.payload.readUInt32LE(0);
        this.#flush();
      } else if (frame.type === FrameType.hello)
        this.#resolveHello(JSON.parse(frame.payload.toString('utf8')) as Hello);
      else if (frame.type === FrameType.fileDone) this.#fileWaiters.get(frame.job)?.(frame.payload.readUInt32LE(0));
      else if (frame.type !== FrameType.pong) this.#onFrame(frame);
    }
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const room = WINDOW_BYTES - ((this.#sentBytes - this.#acknowledgedBytes) >>> 0);
      const next = this.#queue[0];
      if (room <= 0 || next === undefined) return;
      const part = next.subarray(0, room);
      if (part.length === next.length) this.#queue.shift();
      else this.#queue[0] = next.subarray(part.length);
      this.#sentBytes = (this.#sentBytes + part.length) >>> 0;
      this.#line.write(part);
    }
  }

  /** A guest that does not answer is stuck; what kept QEMU or this process from running proves nothing. */
  #watchLife(): void {
    const everyMs = PING_MS[this.#options.mode];
    const limitMs = this.#options.silenceLimitMs ?? SILENCE_LIMIT_MS[this.#options.mode];
    let tickAt = Date.now();
    let heardMs = this.#stopwatch.read();
    this.#timer = setInterval(() => {
      const now = Date.now();
      const hadMs = this.#stopwatch.read();
      if (this.#heard || now - tickAt > 3 * everyMs) heardMs = hadMs;
      this.#heard = false;
      tickAt = now;
      if (hadMs - heardMs > limitMs)
        this.end(`the guest is stuck: no sign of life for ${Math.round((hadMs - heardMs) / 1000)} s`);
      else if (this.#queue.length === 0) this.send(FrameType.ping, 0);
    }, everyMs);
  }
}
