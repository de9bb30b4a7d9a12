import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RAW_SENDER } from '../kit/raw-sender.ts';
import { AGENT, APPLIANCE, JailNetwork, jailLacks, MATE, METADATA } from './network.ts';

const lacking = jailLacks();

describe.skipIf(lacking !== undefined)('the witness of the jail', () => {
  let network: JailNetwork;

  beforeAll(() => {
    network = new JailNetwork();
  });

  afterAll(() => network?.[Symbol.dispose]());

  it('sees what a lock would stop, as long as there is no lock', () => {
    network.run('agent', 'python3', RAW_SENDER, APPLIANCE, '198.18.0.10', METADATA, MATE);
    const packets = network.packetsAtInet();
    for (const target of ['198.18.0.10', METADATA, MATE]) {
      const seen = target === MATE ? network.packetsAt('mate') : packets;
      for (const what of ['tcp 80', 'tcp 443', 'udp 53', 'udp 443', 'udp 9001']) {
        const [protocol, port] = what.split(' ');
        expect(seen).toContain(`${protocol} ${target} ${port}`);
      }
    }
    for (const seen of [packets, network.packetsAt('mate')]) {
      expect(seen).toEqual(expect.arrayContaining(['icmp', 'gre', 'esp', 'sctp']));
    }
  });

  it('sees nothing of what one agent says to another', () => {
    network.resetWitness();
    network.run('mate', 'perl', '-MIO::Socket::INET', '-e', `IO::Socket::INET->new("${AGENT}:80")`);
    expect(network.packetsAtInet()).toEqual([]);
  });
});
