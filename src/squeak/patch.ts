/**
 * A copy of an image that runs a script when the VM starts. The method that the image calls last at start-up is
 * replaced by one appended to the heap. It evaluates the file that the VM's first argument behind the image names:
 *
 *   Compiler evaluate: (FileStream readOnlyFileNamed: (self getSystemAttribute: 2)) contentsOfEntireFile
 *
 * Everything is found by name. The copy is the user's own, made on the user's machine; none is shipped.
 */
import { SqueakError } from './errors.js';
import { HEAP_BYTES_WORD } from './file.js';
import { METHOD_FORMAT, SPECIAL, V3Heap } from './heap.js';
import { type MethodSlot, V3Names } from './names.js';

/** Methods that images call at the end of start-up, by class; the first that an image has is taken. */
const HOOKS: readonly (readonly [className: string, selector: string])[] = [
  ['SystemDictionary', 'readDocumentFile'], // Squeak up to 3.7, Scratch
  ['SmalltalkImage', 'readDocumentFile'], // Squeak 3.8 to 4.x, Pharo 1
];
/** What the appended method refers to: bindings of classes, and selectors. The order is that of its literals. */
const BINDINGS = ['Compiler', 'FileStream'] as const;
const SELECTORS = ['evaluate:', 'readOnlyFileNamed:', 'getSystemAttribute:', 'contentsOfEntireFile'] as const;

/** Bytecodes of the V3 set (class InstructionStream). */
const pushVariable = (literal: number): number => 0x40 + literal;
const send = (literal: number, argumentCount: 0 | 1): number => (argumentCount === 0 ? 0xd0 : 0xe0) + literal;
const PUSH_SELF = 0x70;
const PUSH_TWO = 0x77;
const POP = 0x87;
const RETURN_SELF = 0x78;

const BYTECODES: readonly number[] = [
  pushVariable(0),
  pushVariable(1),
  PUSH_SELF,
  PUSH_TWO,
  send(4, 1),
  send(3, 1),
  send(5, 0),
  send(2, 1),
  POP,
  RETURN_SELF,
];

/** What was done to an image. */
export interface PatchedImage {
  readonly bytes: Uint8Array;
  /** The method replaced, as 'SystemDictionary>>readDocumentFile'. */
  readonly hook: string;
  readonly appendedBytes: number;
}

function missing(what: string): SqueakError {
  return new SqueakError(
    'ERR_SQUEAK_NO_COMPILER',
    `No script can run in this image: it has no ${what}. Take an image with its compiler in it.`,
  );
}

/** The method to replace, with its class's name. */
function hookOf(names: V3Names): MethodSlot & { readonly name: string } {
  for (const [className, selector] of HOOKS) {
    const classOop = names.classNamed(className);
    const slot = classOop === undefined ? undefined : names.methodSlot(classOop, selector);
    if (classOop === undefined || slot === undefined) continue;
    if (!names.understands(classOop, 'getSystemAttribute:')) throw missing(`${className}>>getSystemAttribute:`);
    return { ...slot, name: `${className}>>${selector}` };
  }
  throw missing(`method that is called at start-up (${HOOKS.map((hook) => hook.join('>>')).join(', ')})`);
}

function literalsOf(names: V3Names): readonly number[] {
  const compiler = names.metaclassNamed('Compiler');
  if (compiler === undefined || !names.understands(compiler, 'evaluate:')) throw missing('Compiler class>>evaluate:');
  const files = names.metaclassNamed('FileStream');
  if (files === undefined || !names.understands(files, 'readOnlyFileNamed:'))
    throw missing('FileStream class>>readOnlyFileNamed:');
  const bindings = BINDINGS.map((name) => {
    const binding = names.bindingOf(name);
    if (binding === undefined) throw missing(`binding of ${name}`);
    return binding;
  });
  const selectors = SELECTORS.map((name) => {
    const symbol = names.symbol(name);
    if (symbol === undefined) throw missing(`symbol #${name}`);
    return symbol;
  });
  return [...bindings, ...selectors];
}

/** The words and bytes of a compiled method behind `end`, and its oop. */
function compiledMethod(
  heap: V3Heap,
  literals: readonly number[],
): { readonly bytes: Uint8Array; readonly oop: number } {
  const { littleEndian } = heap.file;
  const methodClass = heap.special(SPECIAL.compiledMethod);
  const compact = heap.compactIndex(methodClass);
  const headers = compact === 0 ? 2 : 1;
  const body = 4 * (1 + literals.length) + BYTECODES.length;
  const padding = -body & 3;
  const bytes = new Uint8Array(4 * headers + body + padding);
  const view = new DataView(bytes.buffer);
  const words = [
    ...(compact === 0 ? [(methodClass | 1) >>> 0] : []),
    ((compact === 0 ? 1 : 3) |
      (4 + body + padding) |
      ((METHOD_FORMAT + padding) << 8) |
      (compact << 12) |
      (1 << 17)) >>>
      0,
    ((literals.length << 10) | 1) >>> 0, // a SmallInteger: no primitive, no arguments, no temporaries
    ...literals,
  ];
  words.forEach((word, index) => {
    view.setUint32(4 * index, word, littleEndian);
  });
  bytes.set(BYTECODES, 4 * words.length);
  return { bytes, oop: heap.end + 4 * (headers - 1) };
}

/**
 * Makes the copy.
 * @throws SqueakError 'ERR_SQUEAK_FORMAT', 'ERR_SQUEAK_DAMAGED', 'ERR_SQUEAK_NO_COMPILER'
 */
export function patchImage(image: Uint8Array): PatchedImage {
  const heap = new V3Heap(image);
  const names = new V3Names(heap);
  const hook = hookOf(names);
  const method = compiledMethod(heap, literalsOf(names));
  const { heapOffset, heapBytes, headerOffset, littleEndian } = heap.file;
  const heapEnd = heapOffset + heapBytes;
  const bytes = new Uint8Array(image.byteLength + method.bytes.byteLength);
  bytes.set(image.subarray(0, heapEnd));
  bytes.set(method.bytes, heapEnd);
  bytes.set(image.subarray(heapEnd), heapEnd + method.bytes.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(headerOffset + HEAP_BYTES_WORD, heapBytes + method.bytes.byteLength, littleEndian);
  view.setUint32(heap.offsetOf(hook.address), method.oop, littleEndian);
  return { bytes, hook: hook.name, appendedBytes: method.bytes.byteLength };
}
