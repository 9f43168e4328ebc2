/** What a guarded call throws. */
import { CalloutError } from '../../src/index.js';

/** The CalloutError that `run` throws; anything else, and nothing, fails the test. */
export function fault(run: () => unknown): CalloutError {
  try {
    run();
  } catch (error) {
    if (error instanceof CalloutError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
