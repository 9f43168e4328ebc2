// What can go wrong with the emulated machine, as one error class with a code per cause.

/** Why a machine could not be had or used. */
export type MachineErrorCode =
  /** No `qemu-system-x86_64` on PATH. */
  | 'ERR_MACHINE_NO_QEMU'
  /** No kernel named, in the cache, or in /boot. */
  | 'ERR_MACHINE_NO_KERNEL'
  /** The project's guest programs or its dist folder are missing. */
  | 'ERR_MACHINE_NOT_BUILT'
  /** A file or library that was to be put into the guest does not exist. */
  | 'ERR_MACHINE_NO_FILE'
  /** QEMU ended, or the guest did not answer in time. */
  | 'ERR_MACHINE_BOOT'
  /** The guest failed the conformance program: what it says about keys is not to be believed. */
  | 'ERR_MACHINE_REFUSED'
  /** The guest was lost and could not be started again. */
  | 'ERR_MACHINE_LOST'
  /** Used after close(). */
  | 'ERR_MACHINE_CLOSED';

/** An error of the emulated machine; `details` holds console lines or other evidence, oldest first. */
export class MachineError extends Error {
  override readonly name = 'MachineError';

  constructor(
    readonly code: MachineErrorCode,
    message: string,
    readonly details: readonly string[] = [],
  ) {
    super(details.length > 0 ? `${message}\n${details.map((line) => `    ${line}`).join('\n')}` : message);
  }
}
