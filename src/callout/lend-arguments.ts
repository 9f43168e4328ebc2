/**
 * Arguments that point into the image, where callees may not read it (`deny: 'access'`), or may not write what they are
 * asked to fill. Each is lent by copy for the length of its call. How much, the declared type says.
 */
import type { Parameter, Type } from './koffi.js';
import type { Image, Loan, LoanMode } from './vm.js';

export interface ArgumentOptions {
  /**
   * Lends what an address in the image points to, given for a declared pointer: a string up to its terminator, else one
   * value of the type. A copy goes in; of `_Out_` and `_Inout_` parameters it comes back, if the call did not fail.
   * A function answers with the bytes instead, for arrays and `void *`; undefined leaves them to the type, and 0 passes
   * the address as it is. What lies behind pointers inside structures is not followed. Default false.
   */
  readonly lendArguments?: boolean | ((argument: LentArgument) => number | undefined);
}

/** An address in the image on its way to a callee. */
export interface LentArgument {
  readonly address: bigint;
  /** Name of the space, and bytes from its start. */
  readonly space: string;
  readonly offset: number;
  /** Name of the declared type, as koffi gives it. */
  readonly type: string;
  /** As the callee sees it. */
  readonly direction: LoanMode;
}

/** A loan for one call. */
export interface ArgumentLoan {
  readonly loan: Loan;
  /** To be done when the call has not failed. */
  readonly finish: (() => void) | undefined;
}

/** The loan for an argument, or undefined where its address is passed as it is. */
export type ArgumentLender = (address: bigint, parameter: Parameter) => ArgumentLoan | undefined;

const MODES = { Input: 'in', Output: 'out', 'Input/Output': 'inout' } as const;
const UNIT_BYTES: Readonly<Record<string, number>> = { String: 1, String16: 2, String32: 4 };
const CHUNK_BYTES = 1024;

type Space = ReturnType<Image['space']>;

/** Bytes of the string at `offset`, its terminator included. @throws RangeError where the space ends first */
function stringBytes(space: Space, offset: number, unit: number): number {
  for (let at = offset; at + unit <= space.bytes; at += CHUNK_BYTES) {
    const chunk = space.read(at, Math.min(CHUNK_BYTES, space.bytes - at));
    for (let i = 0; i + unit <= chunk.length; i += unit)
      if (chunk.subarray(i, i + unit).every((byte) => byte === 0)) return at + i + unit - offset;
  }
  throw new RangeError(
    `The string at ${space.name}+${offset} has no terminator: it cannot be lent. Say how many bytes: lendArguments.`,
  );
}

function typeBytes(space: Space, offset: number, type: Type): number {
  const unit = UNIT_BYTES[type.primitive];
  if (unit !== undefined) return stringBytes(space, offset, unit);
  const bytes = type.ref?.size ?? 0;
  if (bytes > 0) return bytes;
  throw new TypeError(
    `An address in the image, ${space.name}+${offset}, was given for a ${type.name}, which does not say how many ` +
      'bytes to lend. Declare what it points to, give a loan, or let lendArguments be a function that answers.',
  );
}

/** What lends addresses in `image`; undefined where nothing is to be lent. @throws TypeError without an image */
export function argumentLender(
  image: Image | undefined,
  asked: ArgumentOptions['lendArguments'],
): ArgumentLender | undefined {
  if (asked === undefined || asked === false) return undefined;
  if (image === undefined) throw new TypeError('lendArguments needs an image, to which the addresses belong');
  const bytesOf = typeof asked === 'function' ? asked : () => undefined;
  return (address, { type, direction }) => {
    const space = image.spaces.find(
      (range) => address >= range.address && address < range.address + BigInt(range.bytes),
    );
    if (space === undefined) return undefined;
    const offset = Number(address - space.address);
    const said = bytesOf({ address, space: space.name, offset, type: type.name, direction: MODES[direction] });
    if (said === 0) return undefined;
    const bytes = said ?? typeBytes(space, offset, type);
    const loan = image.lend({ space: space.name, offset, bytes }, 'in');
    const copyBack = (): void => {
      space.write(offset, loan.buffer);
    };
    return { loan, finish: direction === 'Input' ? undefined : copyBack };
  };
}
