// The emulated machine: a Linux kernel under QEMU, whose CPU has protection keys even if this machine's has none. One
// boot serves many jobs, as many at once as it has processors. The machine is believed only after the conformance
// program has passed in it.

import { execFileSync } from 'node:child_process';
import { delimiter, dirname } from 'node:path';

import { MachineError } from './errors.js';
import { Guest, type GuestOptions, type Hello } from './guest.js';
import { initramfs } from './initramfs.js';
import { type Job, type JobResult, Task } from './job.js';
import { findKernel, findQemu, projectRoot } from './locate.js';
import type { MachineInfo, MachineOptions } from './options.js';
import { encodeRun, type Frame, FrameType } from './protocol.js';

const BOOT_ATTEMPTS = 3;

const CONFORMANCE_LIMIT_MS = 120_000;
/** From the kill at a job's time limit until the guest counts as stuck. */
const KILL_GRACE_MS = 20_000;
const DEFAULT_CPU = 'max,-cx16'; // QEMU 7.2 damages the flags in CMPXCHG16B (F8, docs/invariants.md)

/**
 * An emulated machine that runs jobs.
 *
 * @example
 * const machine = await Machine.boot();
 * try {
 *   const { exitCode, stdout } = await machine.run({ command: ['node', '-p', '6 * 7'], timeoutMs: 30_000 });
 * } finally {
 *   await machine.close();
 * }
 */
export class Machine {
  #guest: Guest | undefined;
  #hello: Hello | undefined;
  #closed = false;
  #restarting: Promise<void> | undefined;
  #restarts = 0;
  #nextId = 1;
  #waiting: Task[] = [];
  readonly #active = new Map<number, Task>();
  /** A job that lost a guest once runs alone, so that it cannot take others with it again. */
  #alone = false;
  #conformance: readonly string[] = [];
  readonly #environment: Readonly<Record<string, string>>;

  readonly #options: GuestOptions;
  readonly #qemuVersion: string;
  readonly #checked: boolean;
  readonly #log: (line: string) => void;

  private constructor(
    options: GuestOptions,
    qemuVersion: string,
    node: string,
    checked: boolean,
    log: (line: string) => void,
  ) {
    this.#options = options;
    this.#qemuVersion = qemuVersion;
    this.#checked = checked;
    this.#log = log;
    const folders = ['/usr/local/bin', dirname(node), '/usr/local/sbin', '/usr/bin', '/usr/sbin', '/bin', '/sbin'];
    this.#environment = {
      PATH: [...new Set(folders)].join(delimiter),
      HOME: '/root',
      TMPDIR: '/tmp',
      LANG: 'C.UTF-8',
      TURNKEY_LANE: 'emulated',
    };
  }

  /**
   * Boots a guest and lets the conformance program vouch for it. Throws MachineError: no QEMU, no kernel, project not
   * built, a named file missing, boot failed (with the last console lines), refused (with the lines that failed).
   */
  static async boot(options: MachineOptions = {}): Promise<Machine> {
    const qemu = findQemu();
    const kernel = findKernel(options.kernel);
    const mode = options.mode ?? 'behaviour';
    const log = options.onLog ?? (() => undefined);
    const node = options.node ?? process.execPath;
    const processors = mode === 'counting' ? 1 : (options.processors ?? 2);
    if (!Number.isInteger(processors) || processors < 1 || processors > 16)
      throw new RangeError(`processors: ${processors}, expected 1 to 16`);
    const guestOptions: GuestOptions = {
      qemu,
      kernel,
      initramfs: initramfs({
        node,
        extraFiles: options.extraFiles ?? [],
        folders: options.folders ?? [],
      }),
      mode,
      processors,
      memoryMiB: options.memoryMiB ?? 2048,
      cpu: options.cpu ?? DEFAULT_CPU,
      ...(options.silenceLimitMs !== undefined && { silenceLimitMs: options.silenceLimitMs }),
      onLog(line) {
        log(`guest: ${line}`);
      },
    };
    const version = /version (\S+)/.exec(execFileSync(qemu, ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown';
    const machine = new Machine(guestOptions, version, node, options.conformance ?? true, log);
    await machine.#start();
    return machine;
  }

  /** Throws MachineError ERR_MACHINE_CLOSED before a first boot only. */
  get info(): MachineInfo {
    const hello = this.#hello;
    if (hello === undefined) throw new MachineError('ERR_MACHINE_CLOSED', 'this machine never booted');
    return {
      kernel: hello.kernel,
      kernelVersion: hello.kernelVersion,
      kernelFile: this.#options.kernel,
      qemu: this.#qemuVersion,
      cpu: `${hello.cpu} (-cpu ${this.#options.cpu})`,
      cpuFlags: hello.cpuFlags.split(' ').filter((flag) => flag !== ''),
      processors: hello.processors,
      mode: this.#options.mode,
      bootMs: this.#guest?.bootMs ?? 0,
      conformance: this.#conformance,
      pid: this.#guest?.pid ?? -1,
      restarts: this.#restarts,
    };
  }

  /**
   * Runs a job when a processor is free. A job that fails, dies or hangs is a result, and so is a guest lost twice.
   * Rejects with MachineError ERR_MACHINE_CLOSED after close(), and with RangeError for an impossible command.
   */
  run(job: Job): Promise<JobResult> {
    if (this.#closed) return Promise.reject(new MachineError('ERR_MACHINE_CLOSED', 'the machine is closed'));
    if (job.command.length === 0) return Promise.reject(new RangeError('a job needs a command'));
    if (!(job.timeoutMs > 0))
      return Promise.reject(new RangeError(`timeoutMs: ${job.timeoutMs}, expected a positive number of milliseconds`));
    return new Promise((resolve, reject) => {
      this.#waiting.push(new Task(job, resolve, reject));
      this.#schedule();
    });
  }

  /** The bytes of a file in the guest. Throws Error where it cannot be read. Needs busybox in the guest. */
  async readFile(path: string): Promise<Buffer> {
    const parts: Buffer[] = [];
    const { exitCode, stderr, reason } = await this.run({
      command: ['cat', path],
      timeoutMs: 600_000,
      onStdout: (bytes) => parts.push(bytes),
      onRetry: () => parts.splice(0),
    });
    if (exitCode !== 0) throw new Error(`${path} in the guest cannot be read: ${stderr.trim()}${reason ?? ''}`);
    return Buffer.concat(parts);
  }

  /** Ends the guest. Jobs under way or waiting reject with ERR_MACHINE_CLOSED. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const tasks = [...this.#active.values(), ...this.#waiting];
    this.#active.clear();
    this.#waiting = [];
    const guest = this.#guest;
    guest?.end('closed');
    for (const task of tasks) {
      task.clear();
      task.reject(new MachineError('ERR_MACHINE_CLOSED', 'the machine was closed'));
    }
    await guest?.ended;
    await this.#restarting;
  }

  async #start(): Promise<void> {
    const { guest, hello } = await this.#bootPatiently();
    this.#guest = guest;
    this.#hello = hello;
    if (this.#closed) {
      guest.end('closed');
      return;
    }
    this.#log(`machine: Linux ${hello.kernel} on QEMU ${this.#qemuVersion}, up after ${guest.bootMs} ms`);
    if (this.#checked) {
      try {
        await this.#vouch(guest);
      } catch (error) {
        guest.end('refused');
        throw error;
      }
    }
    void guest.ended.then((reason) => {
      this.#lose(guest, reason);
    });
    this.#schedule();
  }

  /** Runs the conformance program, before any job. Throws MachineError ERR_MACHINE_REFUSED. */
  async #vouch(guest: Guest): Promise<void> {
    const result = await new Promise<JobResult>((resolve, reject) => {
      const task = new Task(
        { command: ['/turnkey/conformance', this.#options.mode], cwd: '/', timeoutMs: CONFORMANCE_LIMIT_MS },
        resolve,
        reject,
      );
      void guest.ended.then((reason) => {
        task.finish({ lost: true, reason });
      });
      void this.#launch(guest, task);
    });
    const lines = this.#passed(result, guest);
    this.#conformance = lines.filter((line) => line.startsWith('ok '));
    this.#log(`machine: conformance, ${this.#conformance.length} checks passed`);
  }

  /** The conformance program's lines. Throws MachineError ERR_MACHINE_REFUSED where not all of it passed. */
  #passed(result: JobResult, guest: Guest): readonly string[] {
    const lines = result.stdout.split('\n').filter((line) => line !== '');
    const bad = lines.filter((line) => line.startsWith('not ok') || line.startsWith('Bail out!'));
    if (result.exitCode !== 0 || bad.length > 0 || !lines.some((line) => line.startsWith('1..'))) {
      const ending = result.signal ?? result.reason ?? `exit code ${result.exitCode ?? 'unknown'}`;
      throw new MachineError(
        'ERR_MACHINE_REFUSED',
        'this guest does not do what protection keys are said to do, so nothing it shows is to be believed ' +
          `(-cpu ${this.#options.cpu}, QEMU ${this.#qemuVersion}, kernel ${this.#options.kernel}):`,
        bad.length > 0
          ? bad
          : [
              `the conformance program ended early (${ending})`,
              ...lines.slice(-5),
              ...(result.lost ? guest.lastLines() : []),
            ],
      );
    }
    return lines;
  }

  #schedule(): void {
    const guest = this.#guest;
    if (guest === undefined || !guest.alive || this.#closed || this.#restarting !== undefined) return;
    while (this.#waiting.length > 0 && !this.#alone && this.#active.size < this.#options.processors) {
      const next = this.#waiting[0];
      if (next === undefined) return;
      const again = next.attempts > 0;
      if (again && this.#active.size > 0) return;
      this.#waiting.shift();
      this.#alone = again;
      void this.#launch(guest, next);
    }
  }

  async #launch(guest: Guest, task: Task): Promise<void> {
    const { job } = task;
    task.begin(this.#nextId++);
    this.#active.set(task.id, task);
    const { id } = task;
    try {
      const payload = encodeRun(job.command, { ...this.#environment, ...job.env }, job.cwd ?? projectRoot());
      for (const { path, content, mode } of job.files ?? []) {
        await guest.writeFile(
          path,
          typeof content === 'string' ? Buffer.from(content, 'utf8') : content,
          mode ?? 0o644,
        );
      }
      if (this.#active.get(id) !== task) return; // lost meanwhile
      guest.send(FrameType.run, id, payload);
      task.limits.push(
        guest.after(job.timeoutMs, () => {
          this.#expire(guest, task);
        }),
      );
      await this.#feed(guest, task);
    } catch (error) {
      if (this.#active.get(id) !== task || !guest.alive) return; // the loss is dealt with elsewhere
      guest.send(FrameType.kill, id);
      this.#release(task);
      task.clear();
      task.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #feed(guest: Guest, task: Task): Promise<void> {
    const { stdin } = task.job;
    const { id } = task;
    const put = (bytes: Uint8Array | string): void => {
      const data = typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : bytes;
      for (let at = 0; at < data.length; at += 32768) guest.send(FrameType.stdin, id, data.subarray(at, at + 32768));
    };
    if (typeof stdin === 'string' || stdin instanceof Uint8Array) put(stdin);
    else if (stdin !== undefined && task.attempts === 1) {
      for await (const part of stdin) {
        if (this.#active.get(id) !== task) return;
        put(part);
      }
    }
    if (this.#active.get(id) === task) guest.send(FrameType.stdin, id);
  }

  #expire(guest: Guest, task: Task): void {
    task.timedOut = true;
    guest.send(FrameType.kill, task.id);
    task.limits.push(
      guest.after(KILL_GRACE_MS, () => {
        guest.end(`stuck: a job could not be killed at its time limit of ${task.job.timeoutMs} ms`);
      }),
    );
  }

  #release(task: Task): void {
    this.#active.delete(task.id);
    if (task.attempts > 1) this.#alone = false;
    this.#schedule();
  }

  /** A boot on a busy host can fail by bad timing: tried BOOT_ATTEMPTS times. */
  async #bootPatiently(): Promise<Awaited<ReturnType<typeof Guest.boot>>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await Guest.boot(this.#options, (frame) => {
          this.#take(frame);
        });
      } catch (error) {
        if (attempt === BOOT_ATTEMPTS || !(error instanceof MachineError) || error.code !== 'ERR_MACHINE_BOOT')
          throw error;
        this.#log(`machine: ${error.message.split('\n')[0] ?? ''} (attempt ${attempt} of ${BOOT_ATTEMPTS})`);
      }
    }
  }

  #take({ type, job: id, payload }: Frame): void {
    const task = this.#active.get(id);
    if (task === undefined) return;
    if (type === FrameType.stdout) task.take('out', payload);
    else if (type === FrameType.stderr) task.take('err', payload);
    else if (type === FrameType.exit) {
      this.#active.delete(id);
      task.end(payload);
      this.#release(task);
    }
  }

  /** The guest is gone: start another; what was running is tried once more, alone, or recorded as lost. */
  #lose(guest: Guest, reason: string): void {
    if (this.#closed || guest !== this.#guest) return;
    this.#log(`machine: guest lost: ${reason}`);
    for (const line of guest.lastLines()) this.#log(`machine: its last lines: ${line}`);
    const tasks = [...this.#active.values()];
    this.#active.clear();
    this.#alone = false;
    const again = tasks.filter((task) => task.attempts < 2);
    for (const task of tasks) {
      task.clear();
      if (task.attempts < 2) task.job.onRetry?.(reason);
      else task.finish({ lost: true, reason });
    }
    this.#waiting.unshift(...again);
    this.#restarts++;
    this.#restarting = this.#start()
      .catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        const left = [...this.#active.values(), ...this.#waiting];
        this.#active.clear();
        this.#waiting = [];
        for (const task of left)
          task.finish({ lost: true, reason: `${reason}; and it could not be started again: ${message}` });
        this.#closed = true;
      })
      .finally(() => {
        this.#restarting = undefined;
        this.#schedule();
      });
  }
}
