/** Checks of what users pass to an image. A wrong argument is a TypeError or RangeError that names the value. */
import type { NativeSpaceRequest } from '../native.js';
import { DENIALS } from './mechanism.js';
import type { SpaceRequest } from './types.js';

export const PAGE = 4096;
export const MAX_SPACES = 128; // PKEYS_MAX_SPACES
export const MAX_NAME_BYTES = 31; // PKEYS_NAME_BYTES less its terminator
export const MAX_BYTES = 2 ** 46; // PKEYS_MAX_BYTES
export const DEFAULT_LIMIT = 64;
export const MAX_LIMIT = 65_536;

export function show(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : typeof value === 'bigint' ? `${value}n` : String(value);
}

/** A whole number between the limits, or a TypeError or RangeError that names it. */
export function whole(value: unknown, what: string, low: number, high: number, unit = 'bytes'): number {
  if (typeof value !== 'number')
    throw new TypeError(
      `${what} must be a number of ${unit}, not ${show(value)} (${value === null ? 'null' : typeof value}).`,
    );
  if (!Number.isSafeInteger(value) || value < low || value > high)
    throw new RangeError(`${what} is ${value}; it must be a whole number of ${unit} from ${low} to ${high}.`);
  return value;
}

export function checkRequest(request: SpaceRequest, i: number): NativeSpaceRequest {
  const where = `spaces[${i}]`;
  if (typeof request !== 'object' || request === null)
    throw new TypeError(`${where} must be { name, bytes }, not ${show(request)}.`);
  const { name, deny = 'write' } = request;
  if (typeof name !== 'string') throw new TypeError(`${where}.name must be a string, not ${show(name)}.`);
  const length = Buffer.byteLength(name);
  if (length < 1 || length > MAX_NAME_BYTES || name.includes('\0'))
    throw new RangeError(
      `${where}.name is ${show(name)}; it must have 1 to ${MAX_NAME_BYTES} bytes and no null character.`,
    );
  const bytes = whole(request.bytes, `${where}.bytes (space ${show(name)})`, 1, MAX_BYTES);
  const rounded = Math.ceil(bytes / PAGE) * PAGE;
  const reserveBytes =
    request.reserveBytes === undefined
      ? 0
      : whole(request.reserveBytes, `${where}.reserveBytes (space ${show(name)})`, bytes, MAX_BYTES);
  if (!DENIALS.includes(deny))
    throw new TypeError(`${where}.deny must be '${DENIALS.join("' or '")}', not ${show(deny)}.`);
  return { name, bytes, reserveBytes: reserveBytes === 0 ? 0 : Math.max(reserveBytes, rounded), deny };
}
