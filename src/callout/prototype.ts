/** The ways koffi lets a function be declared, read into one prototype. */
import { ffi, noteFreed, type Parameter, type PrototypeInfo, type Type } from './koffi.js';

/** What a declaration may say beyond koffi. */
export interface FunctionOptions {
  /**
   * Under `response: 'declared'`, only functions declared so fail with an error; a fault in any other goes to the
   * handler before.
   */
  readonly canFail?: boolean;
  /**
   * False: the function runs on the stack of its caller, which is koffi's, and not on a foreign stack. An overrun of
   * its frames then reaches those of koffi. The bounds of the thread name neither stack: a collector or a runtime that
   * checks them needs what docs/troubleshooting.md says. Default: the guard's.
   */
  readonly foreignStack?: boolean;
}

export interface Declaration {
  readonly name: string;
  /** koffi's prototype type, anonymous. */
  readonly type: Type;
  readonly info: PrototypeInfo;
  readonly variadic: boolean;
  readonly options: FunctionOptions;
}

const CONVENTIONS = new Set(['__cdecl', '__stdcall', '__fastcall', '__thiscall']);
/** The name of a prototype, and the convention before it. */
const NAME = new RegExp(String.raw`(?:\b(?:${[...CONVENTIONS].join('|')})\s+)?[A-Za-z_]\w*\s*$`);

function isOptions(value: unknown): value is FunctionOptions {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * Reads the arguments of `lib.func`: a C prototype, or `([convention], name, result, parameters)`; options may follow.
 * Calling conventions mean nothing on x86-64 and are ignored. Throws koffi's own errors for unknown types.
 */
export function parseDeclaration(args: readonly unknown[]): Declaration {
  const forms = [...args];
  const options = forms.length > 1 && isOptions(forms[forms.length - 1]) ? (forms.pop() as FunctionOptions) : {};
  return forms.length === 1 ? parseDefinition(forms[0], options) : parseClassic(forms, options);
}

function parseDefinition(definition: unknown, options: FunctionOptions): Declaration {
  if (typeof definition !== 'string')
    throw new TypeError(`Unexpected ${typeof definition} value for prototype, expected string`);
  const open = definition.indexOf('(');
  const head = open < 0 ? definition : definition.slice(0, open);
  const name = /([A-Za-z_]\w*)\s*$/.exec(head)?.[1];
  if (name === undefined || open < 0 || head.trim() === name)
    throw new Error(`Cannot find a function name in prototype '${definition}'`);
  /* Without its name: koffi would make a named prototype a type, and refuse a second one of that name. Without its
   * convention: koffi refuses some of them in a prototype that is no function's. */
  const type = ffi.proto(`${head.replace(NAME, '')}${definition.slice(open)}`);
  if (definition.includes('!')) noteAnonymousDisposables(type.proto as PrototypeInfo);
  return declare(name, type, /\.\.\.\s*\)/.test(definition), options);
}

function parseClassic(forms: unknown[], options: FunctionOptions): Declaration {
  if (typeof forms[0] === 'string' && CONVENTIONS.has(forms[0])) forms.shift();
  if (forms.length === 1) return parseDefinition(forms[0], options);
  if (forms.length !== 3)
    throw new TypeError(`Expected a prototype, or name, result and parameters; got ${forms.length} arguments`);
  const [name, result, parameters] = forms;
  if (typeof name !== 'string') throw new TypeError(`Unexpected ${typeof name} value for name, expected string`);
  if (!Array.isArray(parameters))
    throw new TypeError(`Unexpected ${typeof parameters} value for parameters of '${name}', expected an array`);
  const type = ffi.proto(result, parameters);
  if ([result, ...(parameters as unknown[])].some((spec) => typeof spec === 'string' && spec.includes('!')))
    noteAnonymousDisposables(type.proto as PrototypeInfo);
  return declare(name, type, parameters[parameters.length - 1] === '...', options);
}

function declare(name: string, type: Type, variadic: boolean, options: FunctionOptions): Declaration {
  const { arguments: parameters, result } = type.proto as PrototypeInfo;
  return { name, type, info: Object.freeze({ name, arguments: parameters, result }), variadic, options };
}

/** A declaration for a bare prototype type, as `koffi.decode(pointer, type)` takes it. */
export function declarationOf(type: Type): Declaration {
  const info = type.proto;
  if (info === undefined) throw new TypeError(`${type.name} is not a function type`);
  return { name: info.name, type, info, variadic: false, options: {} };
}

/* '!' in a prototype makes an anonymous type that is disposed of with free(). */
function noteAnonymousDisposables(info: PrototypeInfo): void {
  for (const type of [info.result, ...info.arguments.map((parameter) => parameter.type)]) {
    for (let at: Type | undefined = type; at !== undefined; at = at.ref) {
      if (at.disposable && at.name.startsWith('<anonymous')) noteFreed(at);
    }
  }
}

const markers = new WeakMap<object, Parameter>();

/**
 * One variadic argument's type, as given with the call: a name (with `_Out_` and so on), a type object, or a direction
 * marker.
 */
export function variadicParameter(spec: unknown): Parameter {
  if (typeof spec === 'string') {
    const [, mark, rest] = /^\s*(_In_|_Out_|_Inout_)?\s*(.*)$/s.exec(spec) as RegExpExecArray;
    return {
      type: ffi.type(rest as string),
      direction: mark === '_Out_' ? 'Output' : mark === '_Inout_' ? 'Input/Output' : 'Input',
    };
  }
  if (typeof spec !== 'object' || spec === null)
    throw new TypeError(`Unexpected ${typeof spec} value as type specifier, expected string or type`);
  if ('primitive' in spec) return { type: ffi.type(spec), direction: 'Input' };
  let known = markers.get(spec);
  if (known === undefined) {
    known = (ffi.proto('void', [spec]).proto as PrototypeInfo).arguments[0] as Parameter;
    markers.set(spec, known);
  }
  return known;
}
