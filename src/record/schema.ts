/**
 * The JSON schema of run.json, and the check made with it on every write and every read.
 * https://json-schema.org/draft-07; checked by ajv in strict mode.
 */
import type { ErrorObject, ValidateFunction } from 'ajv';

import { corrected } from './corrections.js';
import { MEASURED_THINGS } from './description.js';
import { withTables } from './earlier-tables.js';
import { RunFormatError } from './errors.js';
import { type Run, SCHEMA_VERSION } from './records.js';
import { compileSchema } from './validator.js';
import { fromVersion1 } from './version1.js';
import { WARNING_VALUES } from './warnings.js';
import { CASE_GROUPS, DENIALS, HARDENED, KEY_MODES, LANES, MECHANISMS, REMEDY_KINDS, VERDICTS } from './words.js';

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const number: Schema = { type: 'number' };
const natural: Schema = { type: 'integer', minimum: 0 };
const flag: Schema = { type: 'boolean' };
const hex: Schema = { type: 'string', pattern: '^0x[0-9a-f]+$' };
const list = (items: Schema): Schema => ({ type: 'array', items });
const oneOf = (words: readonly string[]): Schema => ({ enum: words });
const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] });
const map = (values: Schema): Schema => ({ type: 'object', additionalProperties: values });

/** A closed object; fields whose name ends in ? may be missing. */
function shape(fields: Readonly<Record<string, Schema>>): Schema {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  for (const [name, schema] of Object.entries(fields)) {
    const bare = name.replace(/\?$/, '');
    properties[bare] = schema;
    if (bare === name) required.push(name);
  }
  return { type: 'object', properties, required, additionalProperties: false };
}

const value: Schema = { type: ['number', 'string', 'boolean'] };
const values = map(value);

/** Each code with the values that it has. */
const warning: Schema = {
  type: 'object',
  discriminator: { propertyName: 'code' },
  required: ['code'],
  oneOf: Object.entries(WARNING_VALUES).map(([code, fields]) =>
    shape({
      code: { const: code },
      ...Object.fromEntries(Object.entries(fields).map(([name, type]) => [name, { type }])),
    }),
  ),
};

/** A cost experiment in its own words. */
const experiment = shape({
  name: text,
  title: text,
  question: text,
  order: number,
  shows: oneOf(['lines', 'ratios', 'rows']),
  parameters: map(
    shape({
      role: oneOf(['size', 'x', 'row', 'panel', 'series', 'aside']),
      'unit?': oneOf(['bytes', 'count']),
      'alone?': { const: true },
      'words?': shape({ yes: text, no: text }),
      'usual?': value,
      'baseline?': text,
      'free?': { const: true },
      'marks?': map(text),
    }),
  ),
  'wholeWork?': { const: true },
  'headline?': shape({ picture: text, sentence: text }),
  'measures?': oneOf(MEASURED_THINGS),
  'table?': shape({
    'rows?': map(values),
    'columns?': map(text),
    'meanings?': map(map(text)),
    'numbers?': map(number),
    'found?': map(text),
    'observed?': map(text),
  }),
});

const mechanism = oneOf(MECHANISMS);
const lane = oneOf(LANES);
const verdict = oneOf(VERDICTS);

const evidence = shape({
  because: text,
  missing: list(text),
  fault: orNull(
    shape({
      signal: text,
      siCode: { type: 'integer' },
      siCodeName: text,
      'systemCall?': text,
      address: hex,
      access: oneOf(['read', 'write', 'execute', 'unknown']),
      pkey: orNull(natural),
      space: orNull(text),
      spaceKey: orNull(natural),
      'spaceMoves?': natural,
      pc: hex,
      pcModule: orNull(text),
      symbol: orNull(text),
      phase: oneOf(['load', 'call', 'decode']),
      image: text,
    }),
  ),
  answer: orNull(text),
  errno: orNull(text),
  diff: orNull(
    shape({
      changedBytes: natural,
      ranges: list(
        shape({
          space: text,
          offset: natural,
          bytes: natural,
          'object?': shape({
            offset: natural,
            bytes: natural,
            classIndex: natural,
            slot: orNull(natural),
            isFree: flag,
          }),
        }),
      ),
      heap: orNull(shape({ sound: flag, text })),
    }),
  ),
  'restored?': shape({ bytes: natural, equal: flag, heap: text }),
  canaries: list(shape({ name: text, intact: flag })),
  aftermath: list(shape({ step: text, ok: flag, detail: text })),
  process: shape({
    exitCode: orNull({ type: 'integer' }),
    signal: orNull(text),
    timedOut: flag,
    stage: oneOf(['start', 'set up', 'called', 'finished']),
    imageAtDeath: oneOf(['equal', 'differs', 'unreadable', 'unknown']),
    changedBytesAtDeath: natural,
    firstChangeAtDeath: orNull(shape({ space: text, offset: natural })),
    lastSignal: orNull(
      shape({
        signal: text,
        siCode: { type: 'integer' },
        'address?': hex,
        'pkey?': natural,
        pc: hex,
        mainThread: flag,
      }),
    ),
    stderr: text,
  }),
  notes: list(text),
});

const corruption = shape({
  kind: { const: 'corruption' },
  case: text,
  group: oneOf(CASE_GROUPS),
  mechanism,
  lane,
  deny: oneOf(DENIALS),
  'keys?': oneOf(KEY_MODES),
  'harden?': oneOf(HARDENED),
  'summary?': text,
  'remedy?': shape({ kinds: { ...list(oneOf(REMEDY_KINDS)), minItems: 1 }, text }),
  expected: shape({ verdicts: list(verdict), why: text }),
  verdict,
  'announced?': flag,
  surprise: flag,
  unstable: flag,
  repetitions: { ...list(verdict), minItems: 1 },
  seed: natural,
  evidence,
});

const honest = shape({
  kind: { const: 'honest' },
  case: text,
  mechanism,
  lane,
  'harden?': oneOf(HARDENED),
  outcome: oneOf(['reference', 'same', 'differs', 'failed']),
  sha256: orNull({ type: 'string', pattern: '^[0-9a-f]{64}$' }),
  bytes: orNull(natural),
  callouts: orNull(natural),
  imageEqual: orNull(flag),
  detail: text,
});

/** The units are tied to the lanes here: a time from the emulated lane does not pass. */
const cost: Schema = {
  ...shape({
    kind: { const: 'cost' },
    experiment: text,
    mechanism,
    lane,
    varied: values,
    found: values,
    'rung?': text,
    unit: oneOf(['ns', 'instructions']),
    samples: { ...list(number), minItems: 1 },
    median: number,
    'counts?': shape({ wrpkru: natural, rdpkru: natural, syscalls: natural, faults: natural }),
    'warnings?': list(warning),
    'observed?': map(number),
    'method?': shape({ processes: natural, 'group?': natural, 'warmUp?': natural, 'pinned?': flag }),
  }),
  if: { type: 'object', properties: { lane: { const: 'emulated' } } },
  then: { type: 'object', properties: { unit: { const: 'instructions' } } },
  else: { type: 'object', properties: { unit: { const: 'ns' } } },
};

const skipped = shape({
  kind: { const: 'skipped' },
  of: oneOf(['corruption', 'honest', 'cost']),
  name: text,
  mechanism,
  lane,
  reason: { type: 'string', minLength: 1 },
  'broken?': { const: true },
});

/** The schema of one record, by kind: messages then name the kind's own fields. */
const RECORD_SCHEMAS = { corruption, honest, cost, skipped } as const;

/** The schema of run.json. */
export const RUN_SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Turnkey run',
  ...shape({
    schemaVersion: { const: SCHEMA_VERSION },
    context: shape({
      started: text,
      finished: text,
      commit: orNull(text),
      seed: natural,
      quick: flag,
      host: shape({
        cpu: text,
        cores: natural,
        memoryBytes: natural,
        kernel: text,
        system: text,
        keys: flag,
        virtualised: flag,
      }),
      lanes: list(
        shape({
          lane,
          keys: flag,
          keysReason: orNull(text),
          cpu: text,
          kernel: text,
          details: map(text),
          'warnings?': list(warning),
        }),
      ),
      versions: map(text),
      imageFile: orNull(shape({ name: text, bytes: natural, sha256: text })),
      'spaces?': list(shape({ name: text, bytes: natural })),
      experiments: list(experiment),
      'shard?': shape({ index: natural, count: natural }),
    }),
    records: list({
      type: 'object',
      discriminator: { propertyName: 'kind' },
      required: ['kind'],
      oneOf: Object.values(RECORD_SCHEMAS),
    }),
  }),
};

let compiled: ValidateFunction | undefined;

function validator(): ValidateFunction {
  compiled ??= compileSchema(RUN_SCHEMA);
  return compiled;
}

function describe(error: ErrorObject | undefined): string {
  if (error === undefined) return 'it does not match the schema';
  const where = error.instancePath === '' ? 'the document' : error.instancePath;
  const which = error.keyword === 'additionalProperties' ? ` (${String(error.params['additionalProperty'])})` : '';
  return `${where} ${error.message ?? 'is wrong'}${which}`;
}

/**
 * Checks a parsed run.json. A run of the version before is converted; what was found wrong in a run later is put right.
 * @param parsed what JSON.parse gave
 * @param name of the file, for messages
 * @throws RunFormatError on another schemaVersion, or where the schema does not hold
 */
export function checkRun(parsed: unknown, name: string): Run {
  if (typeof parsed !== 'object' || parsed === null || !('schemaVersion' in parsed)) {
    throw new RunFormatError(`${name} is not a Turnkey run: it has no schemaVersion`);
  }
  const run = parsed.schemaVersion === 1 ? fromVersion1(parsed, name) : parsed;
  if (run.schemaVersion !== SCHEMA_VERSION) {
    throw new RunFormatError(
      `${name} has schemaVersion ${JSON.stringify(parsed.schemaVersion)}; this version of Turnkey reads ` +
        `1 and ${SCHEMA_VERSION}`,
    );
  }
  const validate = validator();
  if (!validate(run)) throw new RunFormatError(`${name} is not a valid run: ${describe(validate.errors?.[0])}`);
  const { context, records, ...rest } = run as unknown as Run;
  return {
    ...rest,
    context: { ...context, experiments: withTables(context.experiments) },
    records: corrected(records),
  };
}
