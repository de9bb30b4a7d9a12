import { describe, expect, it } from 'vitest';
import { AgentDirectory } from '../../../src/daemon/agents.ts';

const ENTRY = { id: 'a'.repeat(64), name: 'web', image: 'debian', labels: { team: 'x' }, ip: '10.203.0.20' };

describe('the directory of agents', () => {
  it('gives the facts of who was told, the same object until they change, and no name for anybody else', () => {
    const directory = new AgentDirectory();
    expect(directory.factsOf('10.203.0.20')).toEqual({ name: '', image: '', labels: {}, ip: '10.203.0.20' });
    directory.tell([ENTRY]);
    const facts = directory.factsOf('10.203.0.20');
    expect(facts).toEqual({ name: 'web', image: 'debian', labels: { team: 'x' }, ip: '10.203.0.20' });
    expect(directory.factsOf('10.203.0.20')).toBe(facts);
    expect(directory.factsOf('10.203.0.21').name).toBe('');
  });

  it('never leaves an address to two: the last word on a container and on an address holds', () => {
    const directory = new AgentDirectory();
    directory.tell([ENTRY]);
    directory.tell([{ ...ENTRY, ip: '10.203.0.30' }]);
    expect(directory.factsOf('10.203.0.20').name).toBe('');
    directory.tell([{ ...ENTRY, id: 'b'.repeat(64), name: 'other', ip: '10.203.0.30' }]);
    expect(directory.factsOf('10.203.0.30').name).toBe('other');
    expect(directory.entries).toHaveLength(1);
  });

  it('forgets, says whether there was something, and tells of each change once', () => {
    let changes = 0;
    const directory = new AgentDirectory(() => changes++);
    directory.tell([ENTRY]);
    expect([directory.forget(ENTRY.id), directory.forget(ENTRY.id)]).toEqual([true, false]);
    expect(directory.factsOf(ENTRY.ip).name).toBe('');
    expect(changes).toBe(2);
  });

  it('taken over from another process keeps the objects of those that did not change', () => {
    const directory = new AgentDirectory();
    const second = { ...ENTRY, id: 'b'.repeat(64), name: 'second', ip: '10.203.0.40' };
    directory.replace([ENTRY, second]);
    const kept = directory.factsOf(ENTRY.ip);
    directory.replace([ENTRY, { ...second, labels: {} }]);
    expect(directory.factsOf(ENTRY.ip)).toBe(kept);
    expect(directory.factsOf(second.ip).labels).toEqual({});
    directory.replace([ENTRY]);
    expect(directory.factsOf(second.ip).name).toBe('');
  });

  it('forged addresses do not grow it, and never push out one that is known', () => {
    const directory = new AgentDirectory();
    directory.tell([ENTRY]);
    for (let i = 0; i < 70_000; i++) directory.factsOf(`fd00::${i.toString(16)}`);
    expect(directory.factsOf(ENTRY.ip).name).toBe('web');
  });
});
