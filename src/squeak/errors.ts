/** What can be wrong with an image file that is to be read or patched. */

export type SqueakErrorCode =
  | 'ERR_SQUEAK_FORMAT' // no V3 image of 32 bits
  | 'ERR_SQUEAK_DAMAGED' // the file contradicts itself
  | 'ERR_SQUEAK_NO_COMPILER' // sound, but what a script needs is missing
  | 'ERR_SQUEAK_MISSING'; // the VM, its image or the script is not there

/** An image, or a VM, that cannot be used; the message says why and what to do. */
export class SqueakError extends Error {
  override readonly name = 'SqueakError';
  readonly code: SqueakErrorCode;

  constructor(code: SqueakErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
