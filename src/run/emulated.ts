/** The emulated lane as an executor: commands of the built project in a booted guest. */
import { Machine, type MachineMode, projectRoot } from '../machine/index.js';
import { inProject } from '../record/paths.js';
import type { LaneContext } from '../record/records.js';
import type { ExecOptions, ExecResult, Executor } from './executor.js';

/**
 * The emulated lane's trials may take this many times as long as native ones: JavaScript there is about 20 times
 * slower, starting up less.
 */
const SLOWNESS = 4;

export interface EmulatedOptions {
  readonly mode: MachineMode;
  /** Files and shared libraries to take along. */
  readonly extraFiles?: readonly string[];
  readonly kernel?: string;
  readonly onLog?: (line: string) => void;
}

export class EmulatedExecutor implements Executor {
  readonly lane = 'emulated' as const;
  readonly slowness = SLOWNESS;
  readonly concurrency: number;
  readonly context: LaneContext;

  readonly #machine: Machine;

  private constructor(machine: Machine) {
    this.#machine = machine;
    const { info } = machine;
    this.concurrency = info.processors;
    this.context = {
      lane: 'emulated',
      keys: info.cpuFlags.includes('ospke'),
      keysReason: info.cpuFlags.includes('ospke') ? null : "the guest's CPU shows no ospke",
      cpu: info.cpu,
      kernel: info.kernel,
      details: {
        qemu: info.qemu,
        processors: String(info.processors),
        'kernel build': info.kernelVersion,
        conformance: `${info.conformance.length} checks passed`,
        ...(info.mode === 'counting' ? { clock: '1 ns per executed instruction (-icount shift=0)' } : {}),
      },
    };
  }

  /** @throws MachineError when there is no machine to be had */
  static async boot(options: EmulatedOptions): Promise<EmulatedExecutor> {
    return new EmulatedExecutor(
      await Machine.boot({
        mode: options.mode,
        extraFiles: options.extraFiles ?? [],
        ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
        ...(options.onLog === undefined ? {} : { onLog: options.onLog }),
      }),
    );
  }

  async run(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
    const { onStdout } = options;
    const result = await this.#machine.run({
      command: argv.map((word, at) => (at === 0 && word.includes('/') ? inProject(word) : word)),
      cwd: projectRoot(),
      timeoutMs: options.timeoutMs,
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(onStdout === undefined
        ? {}
        : {
            onStdout(bytes: Buffer) {
              onStdout(bytes.toString('utf8'));
            },
          }),
    });
    const { exitCode, signal, stdout, stderr, timedOut } = result;
    const lost =
      result.lost || (exitCode === null && signal === null && !timedOut) ? (result.reason ?? 'unknown why') : null;
    return { exitCode, signal, stdout, stderr, timedOut, lost };
  }

  close(): Promise<void> {
    return this.#machine.close();
  }
}
