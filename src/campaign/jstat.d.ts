/** The part of jStat that is used here; the package brings no types. */
declare module 'jstat' {
  export const jStat: {
    readonly beta: { inv(p: number, alpha: number, beta: number): number };
    readonly binomial: { cdf(k: number, n: number, p: number): number };
    readonly normal: { inv(p: number, mean: number, deviation: number): number };
    readonly ibeta: (x: number, a: number, b: number) => number;
  };
  const all: { readonly jStat: typeof jStat };
  // oxlint-disable-next-line eslint-js/no-restricted-syntax -- as the package has it
  export default all;
}
