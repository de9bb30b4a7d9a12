// dnsmasq as a peer of the DNS filter: it answers from its cache, and asks the bench's name server for what is not in it.
import { freePort } from './machine.ts';
import { startTarget, type Target } from './target.ts';

export const dnsmasq: Target = {
  name: 'dnsmasq',
  about: 'answers from its cache; no log',
  async start(site) {
    const port = await freePort();
    const options = [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--pid-file=',
      '--user=',
      `--port=${port}`,
      '--listen-address=127.0.0.1',
      '--bind-interfaces',
      '--no-resolv',
      '--no-hosts',
      `--server=127.0.0.1#${site.nameServerPort}`,
      '--cache-size=10000',
    ];
    const none = { intercepted: undefined, tunnel: undefined, plainTunnel: undefined };
    return { ...(await startTarget(site, ['dnsmasq', ...options], port, none)), dnsPort: port };
  },
};
