import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/dns/token-bucket.ts';

function taken(bucket: TokenBucket, tries: number, now: number): number {
  return Array.from({ length: tries }, () => bucket.take(now)).filter(Boolean).length;
}

describe('TokenBucket', () => {
  it('gives its burst at once, and then its rate', () => {
    const bucket = new TokenBucket(10, 5, 0);
    expect(taken(bucket, 20, 0)).toBe(5);
    expect(taken(bucket, 20, 99)).toBe(0);
    expect(taken(bucket, 20, 100)).toBe(1);
    expect(taken(bucket, 20, 400)).toBe(3);
  });

  it('saves up no more than its burst', () => {
    const bucket = new TokenBucket(10, 5, 0);
    expect(taken(bucket, 20, 1_000_000)).toBe(5);
  });

  it('goes on at its rate when the clock is set back', () => {
    const bucket = new TokenBucket(10, 5, 1_000_000);
    expect(taken(bucket, 20, 1_000_000)).toBe(5);
    expect(taken(bucket, 20, 0)).toBe(0);
    expect(taken(bucket, 20, 200)).toBe(2);
  });
});
