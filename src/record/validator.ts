/**
 * Compiles the schema of a run. The package does without ajv: scripts/package.mjs puts what ajv has compiled, with
 * these options, in this file's place.
 */
import { Ajv, type Options, type ValidateFunction } from 'ajv';

export const OPTIONS: Options = {
  allErrors: false,
  strict: true,
  strictTypes: false,
  strictRequired: false,
  discriminator: true,
};

export function compileSchema(schema: object): ValidateFunction {
  return new Ajv(OPTIONS).compile(schema);
}
