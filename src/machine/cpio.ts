// A cpio archive of the kind the kernel unpacks as its first file system ("newc").
// Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5).

import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** One thing in the archive; `path` is absolute in the guest. */
export type CpioEntry =
  | { readonly kind: 'folder'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'content'; readonly path: string; readonly content: string; readonly mode?: number }
  | {
      readonly kind: 'copy';
      readonly path: string;
      readonly from: string;
      readonly sizeBytes: number;
      readonly mode: number;
    }
  | {
      readonly kind: 'character-device';
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly mode: number;
    };

const TYPE = {
  folder: 0o040000,
  link: 0o120000,
  content: 0o100000,
  copy: 0o100000,
  'character-device': 0o020000,
} as const;
const COPY_BYTES = 1 << 20;

function header(name: string, inode: number, mode: number, size: number, major: number, minor: number): Buffer {
  const encoded = Buffer.from(`${name}\0`, 'utf8');
  const fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, encoded.length, 0];
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return padded(Buffer.concat([Buffer.from(text, 'latin1'), encoded]));
}

function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}

/** Writes the archive. Folders must precede what they hold. A file whose size changed meanwhile throws Error. */
export function writeCpio(path: string, entries: readonly CpioEntry[]): void {
  const out = openSync(path, 'w');
  try {
    let inode = 1;
    const put = (bytes: Buffer): void => {
      for (let at = 0; at < bytes.length;) at += writeSync(out, bytes, at);
    };
    for (const entry of entries) {
      const name = entry.path.replace(/^\/+/, '');
      const permissions = entry.kind === 'link' ? 0o777 : (entry.mode ?? (entry.kind === 'folder' ? 0o755 : 0o644));
      const mode = TYPE[entry.kind] | (permissions & 0o7777);
      const [major, minor] = entry.kind === 'character-device' ? [entry.major, entry.minor] : [0, 0];
      const content = Buffer.from(
        entry.kind === 'link' ? entry.target : entry.kind === 'content' ? entry.content : '',
        'utf8',
      );
      const size = entry.kind === 'copy' ? entry.sizeBytes : content.length;
      put(header(name, inode++, mode, size, major, minor));
      if (entry.kind === 'copy') copyInto(put, entry.from, entry.sizeBytes);
      else put(padded(content));
    }
    put(header('TRAILER!!!', 0, 0, 0, 0, 0));
  } finally {
    closeSync(out);
  }
}

function copyInto(put: (bytes: Buffer) => void, from: string, sizeBytes: number): void {
  const input = openSync(from, 'r');
  try {
    const buffer = Buffer.allocUnsafe(COPY_BYTES);
    let done = 0;
    for (;;) {
      const n = readSync(input, buffer, 0, COPY_BYTES, null);
      if (n === 0) break;
      done += n;
      put(buffer.subarray(0, n));
    }
    if (done !== sizeBytes) throw new Error(`${from} changed while it was read: ${done} bytes, expected ${sizeBytes}`);
    if (done % 4 !== 0) put(Buffer.alloc(4 - (done % 4)));
  } finally {
    closeSync(input);
  }
}
