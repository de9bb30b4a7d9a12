/**
 * The leaf that an intercepted client sees: for its host, from the proxy's CA, made once, and for no host that no rule
 * intercepts (S011-FR-005, FR-006, FR-017; threats 34, 36).
 */

import { X509Certificate } from 'node:crypto';
import type tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { canonicalHost, type Host } from '../../src/domain/hostname.ts';
import { LEAF_CACHE_MAX } from '../../src/pki/leaf-cache.ts';
import { connectTunnel, openAgent, openHttps, openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { gated } from '../kit/gated.ts';
import { allowHosts, rulesFile } from '../kit/rules.ts';
import { ask, interceptRule, startInterceptScene } from './intercept-scene.ts';

const HOUR_MS = 3_600_000;
const ALL = rulesFile(interceptRule('all', 'http.host != "nowhere.test"'));

/** At once after the handshake: node has it no more once a session ticket of TLS 1.3 has come. */
function leafOf(agent: AgentSocket): X509Certificate {
  const certificate = (agent.socket as tls.TLSSocket).getPeerX509Certificate();
  if (certificate === undefined) throw new Error('no peer certificate');
  return certificate;
}

function host(text: string): Host {
  const canonical = canonicalHost(text);
  if (canonical === undefined) throw new Error(text);
  return canonical;
}

describe('S011-FR-005: the leaf of an intercepted host', () => {
  it.each([
    ['api.test', 'DNS:api.test'],
    ['127.0.0.1', 'IP Address:127.0.0.1'],
    ['localhost', 'DNS:localhost'],
  ])('%s carries that name alone, is signed by the CA, and lasts 24 hours', async (name, altName) => {
    await using scene = await startInterceptScene({ rules: ALL });
    const servername = name === '127.0.0.1' ? '' : name;
    const before = Date.now();
    await using agent = await scene.open({ target: `${name}:${scene.origin.port}`, servername, verifyName: name });
    const leaf = leafOf(agent);
    expect(leaf.subjectAltName).toBe(altName);
    expect(leaf.ca).toBe(false);
    const ca = new X509Certificate(scene.proxy.caPem);
    expect([leaf.issuer, leaf.verify(ca.publicKey)]).toEqual([ca.subject, true]);
    // To the second, as certificates tell time.
    const lifeMs = leaf.validToDate.getTime() - before;
    expect(Math.abs(lifeMs - 24 * HOUR_MS)).toBeLessThan(HOUR_MS / 60);
    expect(leaf.validFromDate.getTime()).toBeLessThanOrEqual(before);
    expect((await agent.request({ target: '/', headers: [`Host: ${name}`] })).status).toBe(200);
  });

  it('is not the certificate of the origin, whose names and key the client never sees', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await using agent = await scene.open();
    const leaf = leafOf(agent);
    await using wire = await openAgent({ port: scene.origin.port });
    const trusted = { ca: scene.originCa.certPem, servername: 'api.test' };
    await using direct = new AgentSocket(await startTls(wire, trusted));
    const own = leafOf(direct);
    expect(leaf.publicKey.equals(own.publicKey)).toBe(false);
    expect([leaf.subjectAltName?.includes('other.test'), own.subjectAltName?.includes('other.test')]).toEqual([
      false,
      true,
    ]);
  });
});

describe('the leaf cache', () => {
  it('S011-SC-003: has one leaf signed for a host, however many connect at once and one after another', async () => {
    await using scene = await startInterceptScene();
    const agents = await Promise.all(Array.from({ length: 20 }, () => scene.open()));
    const serials = new Set(agents.map((agent) => leafOf(agent).serialNumber));
    for (const agent of agents) await agent[Symbol.asyncDispose]();
    await using later = await scene.open();
    serials.add(leafOf(later).serialNumber);
    expect(serials.size).toBe(1);
    expect(scene.proxy.signer?.minted.all).toEqual(['api.test']);
  });

  it('S011-AS-006: serves many requests and another agent with the same leaf, and another host with its own', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await using one = await scene.open();
    const { serialNumber } = leafOf(one);
    for (let i = 0; i < 3; i++) expect((await ask(one, `/${i}`)).status).toBe(200);
    await using two = await scene.open({ localAddress: '127.0.0.2' });
    expect(leafOf(two).serialNumber).toBe(serialNumber);
    await using other = await scene.open({ target: `other.test:${scene.origin.port}` });
    expect(leafOf(other).serialNumber).not.toBe(serialNumber);
    expect(scene.proxy.signer?.minted.all).toEqual(['api.test', 'other.test']);
  });

  it('S011-EC-008: may let go of a leaf in the middle of a handshake, which still completes; then a fresh one is made', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await using tunnel = await openTunnel(scene.proxy, scene.api);
    const gate = gated(tunnel.release());
    const handshake = startTls(gate.stream, { ca: scene.proxy.caPem, servername: 'api.test' });
    await gate.arrived;
    for (let i = 0; i < LEAF_CACHE_MAX; i++) await scene.proxy.signer?.leaves.leafFor(host(`h${i}.test`));
    gate.open();
    await using agent = new AgentSocket(await handshake);
    const { serialNumber } = leafOf(agent);
    expect((await ask(agent, '/')).status).toBe(200);
    await using next = await scene.open();
    expect(leafOf(next).serialNumber).not.toBe(serialNumber);
    expect((await ask(next, '/')).status).toBe(200);
    expect(scene.proxy.signer?.minted.all.filter((name) => name === 'api.test').length).toBe(2);
  });
});

describe('a leaf is never made', () => {
  it('for a host that no rule intercepts: tunnelled, blocked, or unknown to the rules', async () => {
    const tunnelled = `{ id: other, condition: 'http.host == "other.test"', action: allow }`;
    const rules = rulesFile(interceptRule('api', 'http.host == "api.test"'), tunnelled);
    await using scene = await startInterceptScene({ rules });
    const target = `other.test:${scene.origin.port}`;
    await using other = await openHttps(scene.proxy, target, { ca: scene.originCa.certPem });
    expect((await other.request({ target: '/', headers: ['Host: other.test'] })).status).toBe(200);
    await using blocked = await connectTunnel(scene.proxy, `localhost:${scene.origin.port}`);
    expect(blocked.reply.status).toBe(403);
    expect(scene.proxy.signer?.minted.count).toBe(0);
    await using api = await scene.open();
    expect((await ask(api, '/')).status).toBe(200);
    expect(scene.proxy.signer?.minted.all).toEqual(['api.test']);
  });

  it('by the signer for such a host, whoever asks, from the moment that the rules say so', async () => {
    await using scene = await startInterceptScene();
    const leaves = scene.proxy.signer?.leaves;
    await expect(leaves?.leafFor(host('other.test'))).rejects.toMatchObject({ reason: 'cert_gen_failed' });
    await expect(leaves?.leafFor(host('api.test'))).resolves.toMatchObject({ host: 'api.test' });
    scene.proxy.reload(rulesFile(interceptRule('other', 'http.host == "other.test"')));
    await expect(leaves?.leafFor(host('other.test'))).resolves.toMatchObject({ host: 'other.test' });
    scene.proxy.reload(allowHosts('other.test'));
    await expect(leaves?.leafFor(host('third.test'))).rejects.toMatchObject({ reason: 'cert_gen_failed' });
  });

  it('S011-FR-017: without the signer: cert_gen_failed, no tunnel in its place, and the origin gets no byte', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await using before = await scene.open();
    await scene.proxy.signer?.[Symbol.asyncDispose]();
    const target = `other.test:${scene.origin.port}`;
    const { bytes } = scene.origin;
    await expect(scene.open({ target })).rejects.toThrow();
    await expect(openHttps(scene.proxy, target, { ca: scene.originCa.certPem })).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'failed',
      reason: 'cert_gen_failed',
      rule: 'all',
      host: 'other.test',
      subsystem: 'proxy_intercept',
    });
    expect(scene.origin.bytes).toBe(bytes);
    // What has its leaf already goes on.
    expect((await ask(before, '/')).status).toBe(200);
  });
});
