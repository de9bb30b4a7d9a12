// nghttpx as a peer for HTTP/2: it ends TLS and speaks h2 to one fixed origin over verified TLS. Like HAProxy a reverse proxy: no
// CONNECT, no leaf made, nothing decided.
import { freePort } from './machine.ts';
import { startTarget, type Target } from './target.ts';

export const nghttpx: Target = {
  name: 'nghttpx',
  about: 'ends TLS and dials the origin with verified TLS, h2 on both sides, one thread; a reverse proxy as HAProxy is',
  async start({ certificates, origin, ...site }) {
    const port = await freePort();
    const options = [
      '--single-process',
      '--single-thread',
      '--workers=1',
      '--no-ocsp',
      '--no-via',
      '--log-level=ERROR',
      '--errorlog-file=/dev/null',
      '--conf=/dev/null',
      `--cacert=${certificates.originCa.cert}`,
      `--frontend=127.0.0.1,${port}`,
      `--backend=127.0.0.1,${origin.h2Port};;proto=h2;tls;sni=origin.bench.test`,
      '--backend-http2-max-concurrent-streams=128',
      '--frontend-http2-max-concurrent-streams=128',
    ];
    const command = ['nghttpx', ...options, certificates.reverseLeaf.key, certificates.reverseLeaf.cert];
    const h2 = { connect: false, originPort: origin.h2Port, port, ca: certificates.proxyCa.pem };
    return startTarget({ certificates, origin, ...site }, command, port, {
      intercepted: undefined,
      h2,
      tunnel: undefined,
      plainTunnel: undefined,
    });
  },
};
