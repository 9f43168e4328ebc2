/**
 * Debian's Squeak VM, an image for it, and the command line by which the two run a script without a display. What is
 * shown with them holds for this: Debian's binary, its FFI repaired by interposition (native/host/adapter_squeak.c), an
 * image with a script hook (patch.ts).
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { SqueakError } from './errors.js';
import { patchImage } from './patch.js';
import { prelude } from './prelude.js';

/** Where Debian's packages `squeak-vm` and `scratch` put things. */
const VM_FOLDER = '/usr/lib/squeak';
const SCRATCH_IMAGE = '/usr/share/scratch/Scratch.image';
const INSTALL = 'apt-get install --no-install-recommends squeak-vm scratch';

export interface Squeak {
  /** The VM's binary, squeakvm. */
  readonly vm: string;
  /** The image to start from; it is never written to. */
  readonly image: string;
}

/** A copy of an image that runs scripts, and the text that it evaluates before them. */
export interface PreparedImage {
  readonly image: string;
  readonly prelude: string;
}

/** The newest squeakvm of Debian's package. */
function installedVm(): string | undefined {
  if (!existsSync(VM_FOLDER)) return undefined;
  return readdirSync(VM_FOLDER)
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((version) => join(VM_FOLDER, version, 'squeakvm'))
    .find((path) => existsSync(path));
}

/**
 * The VM and the image: those named, else Debian's.
 * @throws SqueakError 'ERR_SQUEAK_MISSING'
 */
export function findSqueak(named: Partial<Squeak> = {}): Squeak {
  const vm = named.vm ?? installedVm();
  const image = named.image ?? SCRATCH_IMAGE;
  if (vm === undefined || !existsSync(vm))
    throw new SqueakError('ERR_SQUEAK_MISSING', `There is no ${vm ?? `squeakvm in ${VM_FOLDER}`}: ${INSTALL}.`);
  if (!existsSync(image)) throw new SqueakError('ERR_SQUEAK_MISSING', `There is no image ${image}: ${INSTALL}.`);
  return { vm, image };
}

/** Writes a file whole or not at all. */
function writeWhole(path: string, content: Uint8Array | string): void {
  const part = `${path}.${process.pid}.part`;
  writeFileSync(part, content);
  renameSync(part, path);
}

/**
 * Patches a copy of the image into `folder`, once for each content of the image.
 * @throws SqueakError 'ERR_SQUEAK_FORMAT', 'ERR_SQUEAK_DAMAGED', 'ERR_SQUEAK_NO_COMPILER'
 */
export function prepareImage(squeak: Squeak, folder: string): PreparedImage {
  const original = readFileSync(squeak.image);
  const text = prelude();
  const hash = createHash('sha256').update(original).update(text).digest('hex').slice(0, 16);
  const prepared = { image: join(folder, `${hash}.image`), prelude: join(folder, `${hash}.st`) };
  if (existsSync(prepared.image) && existsSync(prepared.prelude)) return prepared;
  const { bytes } = patchImage(original);
  mkdirSync(folder, { recursive: true });
  writeWhole(prepared.prelude, text);
  writeWhole(prepared.image, bytes);
  return prepared;
}

/** The command that runs a script. The plugins are the VM's own; a `-mmap` of 1 GiB is the most that can be guarded. */
export function scriptCommand(
  squeak: Squeak,
  prepared: PreparedImage,
  script: string,
  words: readonly string[] = [],
): readonly string[] {
  return [
    squeak.vm,
    '-vm-display-null',
    '-vm-sound-null',
    '-plugins',
    `${dirname(squeak.vm)}/`,
    prepared.image,
    prepared.prelude,
    script,
    ...words,
  ];
}

/** What a guest needs of the host's files: VM and plugins, the prepared image, the script's folder. */
export const scriptFiles = (squeak: Squeak, prepared: PreparedImage, script: string): readonly string[] => [
  dirname(squeak.vm),
  prepared.image,
  prepared.prelude,
  dirname(script),
];
