import { expect, it } from 'vitest';
import { TokenBucket } from '../../../src/wire/token-bucket.ts';

const spendAll = (bucket: TokenBucket): number => {
  let spent = 0;
  while (bucket.spend()) spent++;
  return spent;
};

it('lets the burst pass, then so many a second, and no more than a burst after any pause', () => {
  let now = 5_000;
  const bucket = new TokenBucket({ burst: 100, perSecond: 10 }, () => now);
  expect(spendAll(bucket)).toBe(100);
  now += 1_000;
  expect(spendAll(bucket)).toBe(10);
  now += 150;
  expect(spendAll(bucket)).toBe(1);
  now += 50;
  expect(spendAll(bucket)).toBe(1);
  now += 1_000_000;
  expect(spendAll(bucket)).toBe(100);
});

it('gives as before after its clock was set back', () => {
  let now = 5_000_000;
  const bucket = new TokenBucket({ burst: 100, perSecond: 10 }, () => now);
  expect(spendAll(bucket)).toBe(100);
  now -= 1_000_000;
  expect(spendAll(bucket)).toBe(0);
  now += 1_000;
  expect(spendAll(bucket)).toBe(10);
});

it('gives for what was earned, up to the burst', () => {
  const bucket = new TokenBucket({ burst: 10, perSecond: 1 }, () => 0);
  expect(spendAll(bucket)).toBe(10);
  bucket.earn(3);
  expect(spendAll(bucket)).toBe(3);
  bucket.earn(1_000);
  expect(spendAll(bucket)).toBe(10);
});
