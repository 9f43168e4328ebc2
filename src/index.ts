/** Turnkey: guarded callouts on an image that protection keys keep safe. The public surface of the package. */
export * from './callout/index.js';
