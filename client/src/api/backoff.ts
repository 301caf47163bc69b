const FIRST = 500;
const LONGEST = 10_000;

/**
 * Milliseconds to wait after so many failures in a row: exponential, and anywhere below that, so that
 * the windows that lost the same server do not all come back at once.
 */
export function backoff(failures: number, random = Math.random): number {
  return failures === 0 ? 0 : random() * Math.min(LONGEST, FIRST * 2 ** (failures - 1));
}
