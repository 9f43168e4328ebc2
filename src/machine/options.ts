// How a machine is booted, and what it then is.

import type { MachineMode } from './guest.js';

/** How to boot; every field has a default. */
export interface MachineOptions {
  /** A bzImage; default: TURNKEY_KERNEL, what the set-up fetched, the newest in /boot. */
  readonly kernel?: string;
  /** Default 'behaviour'. 'counting' has one processor and a clock that counts instructions. */
  readonly mode?: MachineMode;
  /** Processors, and jobs at once; default 2, in counting mode always 1. */
  readonly processors?: number;
  /** Default 2048. */
  readonly memoryMiB?: number;
  /** Files, folders and names of shared libraries to take along, at their own absolute paths. */
  readonly extraFiles?: readonly string[];
  /** Folders to make, at their own paths; empty where nothing else fills them. */
  readonly folders?: readonly string[];
  /** The Node binary to take along; default: the one that runs this. */
  readonly node?: string;
  /** QEMU's CPU; default `max,-cx16`. */
  readonly cpu?: string;
  /** A guest that does not answer for so long is stuck; default 45,000, in counting mode 120,000. */
  readonly silenceLimitMs?: number;
  /** False boots a guest that nothing vouches for. Default true. */
  readonly conformance?: boolean;
  /** Console lines and what happens to the guest. */
  readonly onLog?: (line: string) => void;
}

/** What machine this is. */
export interface MachineInfo {
  readonly kernel: string;
  readonly kernelVersion: string;
  readonly kernelFile: string;
  readonly qemu: string;
  readonly cpu: string;
  readonly cpuFlags: readonly string[];
  readonly processors: number;
  readonly mode: MachineMode;
  readonly bootMs: number;
  /** The conformance program's lines; empty where it was not asked for. */
  readonly conformance: readonly string[];
  /** QEMU's process id; it changes with each restart. */
  readonly pid: number;
  /** How often the guest had to be started again. */
  readonly restarts: number;
}
