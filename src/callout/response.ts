/** Which faults become errors. */

/**
 * Which faults become errors: none, those in functions declared `canFail`, all. Cog's ffiExceptionResponse below, at
 * and above 0.
 */
export type Response = 'never' | 'declared' | 'always';

const RESPONSES: Readonly<Record<Response, number>> = { never: 0, declared: 1, always: 2 };

/** As the trap knows it. @throws TypeError for an unknown one */
export function responseCode(response: Response): number {
  if (!Object.hasOwn(RESPONSES, response))
    throw new TypeError(`unknown response '${String(response)}': use 'never', 'declared' or 'always'`);
  return RESPONSES[response];
}
