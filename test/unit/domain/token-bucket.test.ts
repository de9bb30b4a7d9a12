import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/domain/token-bucket.ts';

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

  it('lets the burst pass, then so many a second, and no more than a burst after any pause', () => {
    const bucket = new TokenBucket(10, 100, 5_000);
    expect(taken(bucket, 200, 5_000)).toBe(100);
    expect(taken(bucket, 200, 6_000)).toBe(10);
    expect(taken(bucket, 200, 6_150)).toBe(1);
    expect(taken(bucket, 200, 6_200)).toBe(1);
    expect(taken(bucket, 200, 1_006_200)).toBe(100);
  });

  it('gives as before after its clock was set back', () => {
    const bucket = new TokenBucket(10, 100, 5_000_000);
    expect(taken(bucket, 200, 5_000_000)).toBe(100);
    expect(taken(bucket, 200, 4_000_000)).toBe(0);
    expect(taken(bucket, 200, 4_001_000)).toBe(10);
  });

  it('gives for what was earned, up to the burst', () => {
    const bucket = new TokenBucket(1, 10, 0);
    expect(taken(bucket, 20, 0)).toBe(10);
    bucket.earn(3);
    expect(taken(bucket, 20, 0)).toBe(3);
    bucket.earn(1_000);
    expect(taken(bucket, 20, 0)).toBe(10);
  });
});
