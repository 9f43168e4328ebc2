/** The part of native/campaign/draw.c that reports need: which byte of its stratum a fault hits. Pure. */
import { MOMENTS } from './words.js';

const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;

function mixed(value: bigint): bigint {
  let z = value & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/** Word `which` of a fault: splitmix64 of seed, index and number. */
export function drawWord(seed: number, index: number, which: number): bigint {
  const key = mixed(mixed(BigInt(seed) + GOLDEN) ^ (((BigInt(index) + 1n) * GOLDEN) & MASK));
  return mixed(key + (BigInt(which) + 1n) * GOLDEN);
}

/** The byte offset of fault `index` in its stratum of `bytes` bytes. */
export function drawPosition(seed: number, index: number, bytes: number): number {
  return Number((drawWord(seed, index, 2) * BigInt(bytes)) >> 64n);
}

/** The moment of fault `index`, as a position in MOMENTS. */
export function momentOf(seed: number, index: number): number {
  return Number((drawWord(seed, index, 0) * BigInt(MOMENTS.length)) >> 64n);
}
