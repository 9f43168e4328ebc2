/**
 * A small V3 image, made here: the classes, symbols and methods that a script hook looks for, and nothing else. It is
 * sound (every pointer leads to an object) but starts no VM.
 */

export interface V3ImageOptions {
  readonly littleEndian?: boolean;
  /** Bytes before the header: 0, or 512. */
  readonly prefixBytes?: number;
  readonly version?: number;
  /** Whether CompiledMethod is a compact class, as in every image of Squeak. */
  readonly compactMethods?: boolean;
  /** The class with the start-up hook. */
  readonly hookClass?: string;
  /** Classes that are left out. */
  readonly without?: readonly string[];
  /** Selectors that no class defines. */
  readonly undefinedSelectors?: readonly string[];
}

interface Made {
  readonly oop: number;
  /** Sets pointer field `index`. */
  set(index: number, oop: number): void;
}

const BASE = 0x1000_0000;
const HEADER_BYTES = 64;
const FORMAT = { fixed: 1, array: 2, bytes: 8, method: 12 } as const;
const COMPACT_METHOD = 1;
const SPECIAL_OBJECTS = 29;
const CLASS_FIELDS = 7;

/** Builds the image's bytes. */
export function v3Image(options: V3ImageOptions = {}): Uint8Array {
  const { littleEndian = true, prefixBytes = 0, version = 6502, compactMethods = true } = options;
  const { hookClass = 'SystemDictionary', without = [], undefinedSelectors = [] } = options;
  const heap = new DataView(new ArrayBuffer(65_536));
  let end = 0;
  const word = (at: number, value: number): void => {
    heap.setUint32(at, value >>> 0, littleEndian);
  };
  /** An object of `fields` words or of bytes; the class is set when it is known. */
  const make = (
    format: number,
    fields: number,
    text?: Uint8Array,
    compact = 0,
  ): Made & { setClass(oop: number): void } => {
    const bytes = text === undefined ? 4 * fields : 4 * fields + text.length;
    const padding = -bytes & 3;
    const large = 4 + bytes + padding > 0xfc;
    const start = end;
    const header = start + (compact !== 0 ? 0 : large ? 8 : 4);
    const type = compact !== 0 ? 3 : large ? 0 : 1;
    if (large) word(start, 4 + bytes + padding);
    const size = large ? 0 : 4 + bytes + padding;
    word(header, type | size | ((format + (format >= FORMAT.bytes ? padding : 0)) << 8) | (compact << 12));
    text?.forEach((byte, index) => {
      heap.setUint8(header + 4 + 4 * fields + index, byte);
    });
    end = header + 4 + bytes + padding;
    return {
      oop: BASE + header,
      set(index, oop) {
        word(header + 4 + 4 * index, oop);
      },
      setClass(oop) {
        if (compact === 0) word(header - 4, oop | type);
      },
    };
  };

  const nil = make(FORMAT.fixed, 0);
  const metaclass = make(FORMAT.fixed, CLASS_FIELDS);
  const metaclassClass = make(FORMAT.fixed, CLASS_FIELDS);
  metaclass.setClass(metaclassClass.oop);
  metaclassClass.setClass(metaclass.oop);
  const waiting: { readonly object: { setClass(oop: number): void }; readonly className: string }[] = [];
  const instance = (className: string, format: number, fields: number, text?: Uint8Array): Made => {
    const object = make(format, fields, text);
    waiting.push({ object, className });
    return object;
  };
  const filled = (object: Made, fields: number): Made => {
    for (let index = 0; index < fields; index++) object.set(index, nil.oop);
    return object;
  };
  const symbols = new Map<string, Made>();
  const symbol = (name: string): Made => {
    const made = symbols.get(name) ?? instance('Symbol', FORMAT.bytes, 0, Buffer.from(name, 'latin1'));
    symbols.set(name, made);
    return made;
  };
  const method = (): Made => {
    const compact = compactMethods ? COMPACT_METHOD : 0;
    const object = make(FORMAT.method, 1, Uint8Array.of(0x78), compact);
    object.set(0, 1); // a SmallInteger: no literals
    waiting.push({ object, className: 'CompiledMethod' });
    return object;
  };
  const dictionaryOf = (selectors: readonly string[]): Made => {
    const defined = selectors.filter((selector) => !undefinedSelectors.includes(selector));
    const slots = defined.length + 1; // one is empty
    const dictionary = filled(instance('MethodDictionary', FORMAT.array, 2 + slots), 2 + slots);
    const methods = filled(instance('Array', FORMAT.array, slots), slots);
    dictionary.set(0, (defined.length << 1) | 1);
    dictionary.set(1, methods.oop);
    defined.forEach((selector, index) => {
      dictionary.set(2 + index, symbol(selector).oop);
      methods.set(index, method().oop);
    });
    return dictionary;
  };
  const classes = new Map<string, Made>();
  /** A class under `superclass`, its metaclass under Object's; with methods of instances and of the class itself. */
  const define = (
    name: string,
    selectors: readonly string[],
    ofClass: readonly string[] = [],
    superclass = 'Object',
  ): void => {
    if (without.includes(name)) return;
    const meta = filled(make(FORMAT.fixed, CLASS_FIELDS - 1), CLASS_FIELDS - 1);
    const made = filled(make(FORMAT.fixed, CLASS_FIELDS), CLASS_FIELDS);
    meta.set(1, dictionaryOf(ofClass).oop);
    made.set(0, (classes.get(superclass) ?? nil).oop);
    made.set(1, dictionaryOf(selectors).oop);
    made.set(6, symbol(name).oop);
    waiting.push({ object: meta as typeof nil, className: 'Metaclass' });
    (made as typeof nil).setClass(meta.oop);
    const binding = instance('Association', FORMAT.fixed, 2);
    binding.set(0, symbol(name).oop);
    binding.set(1, made.oop);
    classes.set(name, made);
  };
  filled(metaclass, CLASS_FIELDS);
  filled(metaclassClass, CLASS_FIELDS);
  classes.set('Metaclass', metaclass);
  define('Object', []);
  for (const name of ['UndefinedObject', 'Array', 'Symbol', 'CompiledMethod', 'MethodDictionary', 'Association'])
    define(name, []);
  define('Compiler', [], ['evaluate:']);
  define('FileStream', ['contentsOfEntireFile'], ['readOnlyFileNamed:']);
  define('Root', ['getSystemAttribute:']);
  define(hookClass, ['readDocumentFile'], [], 'Root');
  const special = filled(instance('Array', FORMAT.array, SPECIAL_OBJECTS), SPECIAL_OBJECTS);
  const compact = filled(instance('Array', FORMAT.array, 31), 31);
  const put = (index: number, made: Made | undefined): void => {
    special.set(index, (made ?? nil).oop);
  };
  put(7, classes.get('Array'));
  put(16, classes.get('CompiledMethod'));
  put(20, symbol('doesNotUnderstand:'));
  put(28, compact);
  compact.set(COMPACT_METHOD - 1, (compactMethods ? (classes.get('CompiledMethod') ?? nil) : nil).oop);
  nil.setClass((classes.get('UndefinedObject') ?? nil).oop);
  for (const { object, className } of waiting) object.setClass((classes.get(className) ?? nil).oop);

  const file = new Uint8Array(prefixBytes + HEADER_BYTES + end);
  const header = new DataView(file.buffer, prefixBytes, HEADER_BYTES);
  [version, HEADER_BYTES, end, BASE, special.oop].forEach((value, index) => {
    header.setUint32(4 * index, value, littleEndian);
  });
  file.set(new Uint8Array(heap.buffer, 0, end), prefixBytes + HEADER_BYTES);
  return file;
}
