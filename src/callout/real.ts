/** Where the koffi that `turnkey/register` gives a program keeps koffi's own addon. Loads nothing. */
export const REAL: unique symbol = Symbol.for('turnkey.koffi.real') as never;
