/**
 * Symbols, classes and methods of a V3 heap, by name. Nothing is found by a fixed address. The layout of a class
 * (superclass, method dictionary, format) is the VM's; where a class keeps its name is learned from class Array.
 */
import { SqueakError } from './errors.js';
import { SPECIAL, type V3Heap } from './heap.js';

const SUPERCLASS = 0;
const METHOD_DICTIONARY = 1;
/** A method dictionary's fields: tally, array of methods, then a selector (or nil) for each slot of that array. */
const METHODS = 1;
const FIRST_SELECTOR = 2;

/** Where a method is: the address of the word that names it, in the method dictionary's array. */
export interface MethodSlot {
  readonly method: number;
  readonly address: number;
}

export class V3Names {
  readonly #heap: V3Heap;
  readonly #symbols = new Map<string, number>();
  readonly #classes = new Map<string, number>();

  /** @throws SqueakError 'ERR_SQUEAK_DAMAGED' if class Array has no name, so that no class has */
  constructor(heap: V3Heap) {
    this.#heap = heap;
    const symbolClass = heap.classOf(heap.special(SPECIAL.doesNotUnderstand));
    const text = new Map<number, string>();
    for (const oop of heap.oops)
      if (heap.classOf(oop) === symbolClass) {
        const name = Buffer.from(heap.bytes(oop)).toString('latin1');
        this.#symbols.set(name, oop);
        text.set(oop, name);
      }
    const array = heap.special(SPECIAL.array);
    const nameField = heap.fields(array).findIndex((oop) => text.get(oop) === 'Array');
    if (nameField < 0)
      throw new SqueakError('ERR_SQUEAK_DAMAGED', "The image's class Array has no name: classes cannot be found.");
    // a class is an instance of a metaclass; the class of all metaclasses is the class of the class of Array
    const metaclass = heap.classOf(heap.classOf(array));
    for (const oop of heap.oops) {
      const type = heap.classOf(oop);
      if (type === metaclass || !heap.has(type) || heap.classOf(type) !== metaclass) continue;
      const name =
        heap.isPointers(oop) && heap.size(oop) > nameField ? text.get(heap.field(oop, nameField)) : undefined;
      if (name !== undefined) this.#classes.set(name, oop);
    }
  }

  symbol(name: string): number | undefined {
    return this.#symbols.get(name);
  }
  classNamed(name: string): number | undefined {
    return this.#classes.get(name);
  }
  /** The class of a class, which has its class-side methods. */
  metaclassNamed(name: string): number | undefined {
    const found = this.classNamed(name);
    return found === undefined ? undefined : this.#heap.classOf(found);
  }

  /** Where a class itself defines `selector`. */
  methodSlot(classOop: number, selector: string): MethodSlot | undefined {
    const heap = this.#heap;
    const wanted = this.symbol(selector);
    const dictionary = heap.field(classOop, METHOD_DICTIONARY);
    if (wanted === undefined || !heap.has(dictionary) || heap.size(dictionary) < FIRST_SELECTOR) return undefined;
    const index = heap.fields(dictionary).indexOf(wanted, FIRST_SELECTOR) - FIRST_SELECTOR;
    const methods = heap.field(dictionary, METHODS);
    if (index < 0 || !heap.has(methods)) return undefined;
    return { method: heap.field(methods, index), address: methods + 4 + 4 * index };
  }
  /** Whether instances of a class understand `selector`: it or a class above it defines the method. */
  understands(classOop: number, selector: string): boolean {
    const seen = new Set([this.#heap.nil]); // a damaged image may have a class above itself
    for (let at = classOop; this.#heap.has(at) && !seen.has(at); at = this.#heap.field(at, SUPERCLASS)) {
      if (this.methodSlot(at, selector) !== undefined) return true;
      seen.add(at);
    }
    return false;
  }
  /** The binding (an association of name and class) by which compiled code refers to a class. */
  bindingOf(name: string): number | undefined {
    const key = this.symbol(name);
    const value = this.classNamed(name);
    if (key === undefined || value === undefined) return undefined;
    const heap = this.#heap;
    return heap.oops.find(
      (oop) =>
        heap.isPointers(oop) && heap.size(oop) === 2 && heap.field(oop, 0) === key && heap.field(oop, 1) === value,
    );
  }
}
