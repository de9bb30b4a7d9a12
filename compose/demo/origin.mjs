/**
 * The stand-in of compose/demo.yaml for an API of the internet: HTTPS on 443 with a certificate that it makes at its first
 * start. Each request is one line of /tmp/reached before it is answered, so that scripts/up can tell what arrived.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, renameSync } from 'node:fs';
import https from 'node:https';

const NAME = 'api.example.test';
const PORT = 443;
const KEY_FILE = '/demo/keys/origin.key';
const CERT_FILE = '/demo/keys/origin.crt';
const REACHED_FILE = '/tmp/reached';
/** The appliance reads the certificate when it starts, so it is to last as long as anyone keeps the demo. */
const DAYS = '3650';

function makeCertificate() {
  const unfinished = `${CERT_FILE}.new`;
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', KEY_FILE];
  const subject = ['-subj', `/CN=${NAME}`, '-addext', `subjectAltName=DNS:${NAME}`];
  const args = ['req', '-x509', ...key, ...subject, '-days', DAYS, '-out', unfinished];
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  renameSync(unfinished, CERT_FILE);
}

if (!existsSync(CERT_FILE)) makeCertificate();
https
  .createServer({ key: readFileSync(KEY_FILE), cert: readFileSync(CERT_FILE) }, (request, response) => {
    const did = `${request.method} ${request.url}`;
    appendFileSync(REACHED_FILE, `${did}\n`);
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ origin: request.headers.host, did })}\n`);
  })
  .listen(PORT);
