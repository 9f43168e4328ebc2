/** A small image, and the errors that tests of the image expect. */
import { Image, ImageError } from '../../src/index.js';

export const KIB = 1024;

/** Two spaces: eden and old. */
export const small = (): Image =>
  Image.map({
    spaces: [
      { name: 'eden', bytes: 64 * KIB },
      { name: 'old', bytes: 512 * KIB },
    ],
  });

/** The error that `run` throws; the test fails if it throws none. */
export function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** The code of the image's error that `run` throws; the name of any other error. */
export function code(run: () => unknown): string {
  const error = thrown(run);
  return error instanceof ImageError ? error.code : error.name;
}
