/** Errors of this layer that a user can act on: the command line shows their message alone. */

/** An expected kind of failure, whose message says what to do. */
export class ExperimentError extends Error {
  override readonly name: string = 'ExperimentError';
}

/** A run.json that cannot be read or written: not JSON, of an unknown version, or not of the schema. */
export class RunFormatError extends ExperimentError {
  override readonly name = 'RunFormatError';
}
