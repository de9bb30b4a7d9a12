import { describe, expect, it } from 'vitest';
import { ExpiringMap } from '../../../src/upstream/expiring-map.ts';
import { TestClock } from './support.ts';

describe('ExpiringMap', () => {
  it('gives a value until its time is over', () => {
    const clock = new TestClock();
    const map = new ExpiringMap<number>(10, clock);
    map.set('a', 1, 1_000);
    clock.advance(999);
    expect(map.get('a')).toBe(1);
    clock.advance(1);
    expect(map.get('a')).toBeUndefined();
    expect(map.size).toBe(0);
  });

  it('keeps nothing that has no time to live, and forgets what it had', () => {
    const map = new ExpiringMap<number>(10, new TestClock());
    map.set('a', 1, 1_000);
    map.set('a', 2, 0);
    expect(map.get('a')).toBeUndefined();
  });

  it('lets go of what was used longest ago when it is full', () => {
    const map = new ExpiringMap<number>(2, new TestClock());
    map.set('a', 1, 1_000);
    map.set('b', 2, 1_000);
    expect(map.get('a')).toBe(1);
    map.set('c', 3, 1_000);
    expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([1, undefined, 3]);
  });

  it('replaces a value without pushing another out', () => {
    const map = new ExpiringMap<number>(2, new TestClock());
    map.set('a', 1, 1_000);
    map.set('b', 2, 1_000);
    map.set('b', 3, 1_000);
    expect([map.get('a'), map.get('b')]).toEqual([1, 3]);
  });

  it('forgets what it is told to forget', () => {
    const map = new ExpiringMap<number>(2, new TestClock());
    map.set('a', 1, 1_000);
    map.set('b', 2, 1_000);
    map.delete('a');
    expect([map.get('a'), map.get('b')]).toEqual([undefined, 2]);
  });
});
