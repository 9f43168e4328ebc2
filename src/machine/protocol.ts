// The frames between the host and native/machine/agent.c, over the guest's second serial port. Little-endian: magic
// "TKF1", type u32, job u32, length u32, payload, CRC-32 (IEEE 802.3) of all that precedes. The agent's file is the
// other half: keep the numbers equal.

import { crc32 } from '../record/crc32.js';

/** What a frame is; 1 to 63 go to the guest, 64 and above come from it. */
export const FrameType = {
  run: 1,
  stdin: 2,
  kill: 3,
  file: 4,
  fileData: 5,
  fileEnd: 6,
  ping: 7,
  hello: 64,
  ack: 65,
  stdout: 66,
  stderr: 67,
  exit: 68,
  fileDone: 69,
  pong: 70,
} as const;

/** One frame as received. */
export interface Frame {
  readonly type: number;
  readonly job: number;
  readonly payload: Buffer;
}

const MAGIC = 0x31464b54;
const HEADER_BYTES = 16;
const MAX_PAYLOAD_BYTES = 1 << 20;

/** A whole frame as bytes. Throws RangeError for a payload over 1 MiB. */
export function encodeFrame(type: number, job: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  if (payload.length > MAX_PAYLOAD_BYTES)
    throw new RangeError(`a frame of ${payload.length} bytes is over the limit of ${MAX_PAYLOAD_BYTES}`);
  const frame = Buffer.alloc(HEADER_BYTES + payload.length + 4);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(type, 4);
  frame.writeUInt32LE(job, 8);
  frame.writeUInt32LE(payload.length, 12);
  frame.set(payload, HEADER_BYTES);
  frame.writeUInt32LE(crc32(frame.subarray(0, -4)), frame.length - 4);
  return frame;
}

/**
 * Cuts a byte stream into frames. `push` throws Error where the stream is damaged; nothing after that can be trusted.
 */
export class FrameReader {
  #parts: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): Frame[] {
    this.#parts = this.#parts.length === 0 ? bytes : Buffer.concat([this.#parts, bytes]);
    const frames: Frame[] = [];
    let at = 0;
    while (this.#parts.length - at >= HEADER_BYTES) {
      const length = this.#parts.readUInt32LE(at + 12);
      if (this.#parts.readUInt32LE(at) !== MAGIC || length > MAX_PAYLOAD_BYTES)
        throw new Error(`damaged frame header ${this.#parts.subarray(at, at + HEADER_BYTES).toString('hex')}`);
      const end = at + HEADER_BYTES + length + 4;
      if (this.#parts.length < end) break;
      if (crc32(this.#parts.subarray(at, end - 4)) !== this.#parts.readUInt32LE(end - 4))
        throw new Error(`frame of ${length} bytes with a wrong checksum`);
      frames.push({
        type: this.#parts.readUInt32LE(at + 4),
        job: this.#parts.readUInt32LE(at + 8),
        payload: Buffer.from(this.#parts.subarray(at + HEADER_BYTES, end - 4)),
      });
      at = end;
    }
    this.#parts = this.#parts.subarray(at);
    return frames;
  }
}

/** The payload of a `run` frame. Throws RangeError where a string holds a NUL, which no argument or variable can. */
export function encodeRun(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  cwd: string,
): Buffer {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const strings = [cwd, ...command, ...variables];
  const bad = strings.find((text) => text.includes('\0'));
  if (bad !== undefined) throw new RangeError(`a NUL in ${JSON.stringify(bad)}`);
  const counts = Buffer.alloc(8);
  counts.writeUInt32LE(command.length, 0);
  counts.writeUInt32LE(variables.length, 4);
  return Buffer.concat([counts, Buffer.from(strings.map((text) => `${text}\0`).join(''), 'utf8')]);
}

/** The payload of a `file` frame. */
export function encodeFile(path: string, mode: number): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(mode, 0);
  return Buffer.concat([head, Buffer.from(`${path}\0`, 'utf8')]);
}
