import { scale } from '../../support/scale.ts';

/** Hashes, or answers, in a test of many. */
export const HASHES: number = scale('SPANWIRE_HASHES', 6000);
