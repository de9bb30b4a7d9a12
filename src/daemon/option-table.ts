/**
 * Every option of outcalld in one table: flag, default, what its text must be, and what to write where it is not.
 * The help text, the environment names, the checks and the docs come from here. Reads nothing, checks no files.
 */

import { LOG_LEVELS } from '../audit/log.ts';
import { DEFAULT_ADMIN_SOCKET } from '../domain/admin-api.ts';
import {
  checkCidrs,
  checkEnforcement,
  checkInteger,
  checkListen,
  checkLogLevel,
  checkPath,
  checkRange,
  checkResolvers,
  checkSocketPath,
  checkSwitch,
  checkUser,
} from './option-checks.ts';
import type { OptionSpec } from './option-spec.ts';

/** A worker per core is the useful number; more than this is a mistyped value. */
const MAX_WORKERS = 256;
/** A week: no timeout of a proxy means more than that. */
const MAX_TIMEOUT_SECS = 604_800;
const MIN_LEAF_TTL_SECS = 60;
const MAX_LEAF_TTL_SECS = 604_800;
const MAX_BODY_CAP_BYTES = 16_777_216;
const MIN_HEAD_BYTES = 1_024;
const MAX_HEAD_BYTES = 1_048_576;
const MIN_HEADERS = 8;
const MAX_HEADERS = 4_096;
const MAX_CONNECTIONS_PER_AGENT = 1_000_000;
/** 0, 1 and 2 are the standard streams; the highest number that a usual limit of 1,024 open files has. */
const MIN_INHERITED_FD = 3;
const MAX_INHERITED_FD = 1_023;

export const OPTION_TABLE = {
  listen: {
    flag: '--listen',
    placeholder: 'HOST:PORT',
    help: 'address of the proxy',
    fallback: '0.0.0.0:8080',
    check: checkListen('0.0.0.0:8080'),
  },
  rules: {
    flag: '--rules',
    placeholder: 'PATH',
    help: 'rule file, or folder of *.yaml with *.pem trust anchors beside them',
    fallback: '/etc/outcall/rules',
    check: checkPath('/etc/outcall/rules'),
  },
  enforcement: {
    flag: '--enforcement',
    placeholder: 'MODE',
    help: 'enforce, or audit: record what the rules would block, and let it through',
    fallback: 'enforce',
    check: checkEnforcement,
  },
  caCert: {
    flag: '--ca-cert',
    placeholder: 'FILE',
    help: 'certificate of the CA (outcall ca init); with --ca-key, turns interception on',
    fallback: undefined,
    check: checkPath('/etc/outcall/ca/ca.crt'),
  },
  caKey: {
    flag: '--ca-key',
    placeholder: 'FILE',
    help: 'private key of the CA, mode 0600',
    fallback: undefined,
    check: checkPath('/etc/outcall/ca/ca.key'),
  },
  caDir: {
    flag: '--ca-dir',
    placeholder: 'DIR',
    help: 'folder of the CA in place of the two files; outcalld writes it when a CA is generated, uploaded or replaced',
    fallback: undefined,
    check: checkPath('/etc/outcall/ca'),
  },
  trustDir: {
    flag: '--trust-dir',
    placeholder: 'DIR',
    help: 'folder for agents to mount, kept with what to trust (ca.crt, bundle.crt); with --ca-dir',
    fallback: undefined,
    check: checkPath('/etc/outcall/trust'),
  },
  interceptLeafTtlSecs: {
    flag: '--intercept-leaf-ttl-secs',
    placeholder: 'SECONDS',
    help: 'how long a certificate made for a host is good for',
    fallback: '86400',
    check: checkInteger(MIN_LEAF_TTL_SECS, MAX_LEAF_TTL_SECS),
  },
  interceptBodyCapBytes: {
    flag: '--intercept-body-cap-bytes',
    placeholder: 'BYTES',
    help: 'largest request body that a rule with match_body sees',
    fallback: '1048576',
    check: checkInteger(0, MAX_BODY_CAP_BYTES),
  },
  upstreamDns: {
    flag: '--upstream-dns',
    placeholder: 'HOST:PORT,...',
    help: 'resolvers to ask; the system’s unless set',
    fallback: '',
    check: checkResolvers,
  },
  upstreamCa: {
    flag: '--upstream-ca',
    placeholder: 'FILE',
    help: 'PEM certificates trusted for origins beside the system’s',
    fallback: undefined,
    check: checkPath('/etc/ssl/certs/corporate.pem'),
  },
  allowPrivate: {
    flag: '--allow-private',
    placeholder: 'CIDR,...',
    help: 'private ranges that any rule may reach',
    fallback: '',
    check: checkCidrs,
  },
  maxHeadBytes: {
    flag: '--max-head-bytes',
    placeholder: 'BYTES',
    help: 'largest request or response head',
    fallback: '65536',
    check: checkInteger(MIN_HEAD_BYTES, MAX_HEAD_BYTES),
  },
  maxHeaders: {
    flag: '--max-headers',
    placeholder: 'COUNT',
    help: 'most header fields in a head',
    fallback: '256',
    check: checkInteger(MIN_HEADERS, MAX_HEADERS),
  },
  headTimeoutSecs: {
    flag: '--head-timeout-secs',
    placeholder: 'SECONDS',
    help: 'a request head must be whole in this time',
    fallback: '10',
    check: checkInteger(1, MAX_TIMEOUT_SECS),
  },
  helloTimeoutSecs: {
    flag: '--hello-timeout-secs',
    placeholder: 'SECONDS',
    help: 'a TLS ClientHello must be whole in this time',
    fallback: '10',
    check: checkInteger(1, MAX_TIMEOUT_SECS),
  },
  connectTimeoutSecs: {
    flag: '--connect-timeout-secs',
    placeholder: 'SECONDS',
    help: 'an origin must accept a connection in this time',
    fallback: '10',
    check: checkInteger(1, MAX_TIMEOUT_SECS),
  },
  idleTimeoutSecs: {
    flag: '--idle-timeout-secs',
    placeholder: 'SECONDS',
    help: 'a flow without a byte for this long is closed',
    fallback: '300',
    check: checkInteger(1, MAX_TIMEOUT_SECS),
  },
  maxConnectionsPerAgent: {
    flag: '--max-connections-per-agent',
    placeholder: 'COUNT',
    help: 'most connections that one agent may have open in each worker',
    fallback: '1024',
    check: checkInteger(1, MAX_CONNECTIONS_PER_AGENT),
  },
  drainSecs: {
    flag: '--drain-secs',
    placeholder: 'SECONDS',
    help: 'how long open flows may go on after SIGTERM',
    fallback: '30',
    check: checkInteger(0, MAX_TIMEOUT_SECS),
  },
  adminSocket: {
    flag: '--admin-socket',
    placeholder: 'PATH',
    help: 'Unix socket of the admin API',
    fallback: DEFAULT_ADMIN_SOCKET,
    check: checkSocketPath,
  },
  adminListen: {
    flag: '--admin-listen',
    placeholder: 'HOST:PORT',
    help: 'address of loopback for the admin API on TCP as well; asks for the token of --admin-token-file',
    fallback: undefined,
    check: checkListen('127.0.0.1:9901'),
  },
  adminTokenFile: {
    flag: '--admin-token-file',
    placeholder: 'FILE',
    help: 'token for --admin-listen, mode 0600, 32 characters or more',
    fallback: undefined,
    check: checkPath('/etc/outcall/admin-token'),
  },
  metricsListen: {
    flag: '--metrics-listen',
    placeholder: 'HOST:PORT',
    help: 'address of GET /metrics for Prometheus: of loopback, or with --lock any that is not on the agents’ network',
    fallback: undefined,
    check: checkListen('127.0.0.1:9464'),
  },
  agentsFile: {
    flag: '--agents-file',
    placeholder: 'FILE',
    help: 'where to keep, over a restart, who the attached agents are',
    fallback: undefined,
    check: checkPath('/var/lib/outcall/agents.json'),
  },
  lock: {
    flag: '--lock',
    placeholder: undefined,
    help: 'lock this network namespace by nft, so that agents reach the appliance and nothing else; needs NET_ADMIN',
    fallback: 'false',
    check: checkSwitch,
  },
  agentsSubnet: {
    flag: '--agents-subnet',
    placeholder: 'CIDR',
    help: 'the agents’ network',
    fallback: undefined,
    check: checkRange('10.203.0.0/16'),
  },
  pool: {
    flag: '--pool',
    placeholder: 'CIDR',
    help: 'the part of the agents’ network that stands for names, one address each',
    fallback: undefined,
    check: checkRange('10.203.128.0/17'),
  },
  isolated: {
    flag: '--isolated',
    placeholder: 'CIDR',
    help: 'where the networks of one agent are (outcall attach --isolate); they are taken up as they are connected',
    fallback: undefined,
    check: checkRange('10.204.0.0/14'),
  },
  dnsListen: {
    flag: '--dns-listen',
    placeholder: 'HOST:PORT',
    help: 'address of the DNS filter, for UDP and TCP',
    fallback: undefined,
    check: checkListen('10.203.0.2:53'),
  },
  transparentFd: {
    flag: '--transparent-fd',
    placeholder: 'NUMBER',
    help: 'inherited listening socket (IP_TRANSPARENT) of the transparent door',
    fallback: undefined,
    check: checkInteger(MIN_INHERITED_FD, MAX_INHERITED_FD),
  },
  workerUser: {
    flag: '--worker-user',
    placeholder: 'UID:GID',
    help: 'user that the workers run as, where outcalld starts as root',
    fallback: undefined,
    check: checkUser('10021:10021'),
  },
  signerUser: {
    flag: '--signer-user',
    placeholder: 'UID:GID',
    help: 'user that the signer runs as, and that owns the CA key',
    fallback: undefined,
    check: checkUser('10022:10022'),
  },
  workers: {
    flag: '--workers',
    placeholder: 'COUNT',
    help: 'worker processes; 0 is one per core',
    fallback: '0',
    check: checkInteger(0, MAX_WORKERS),
  },
  logLevel: {
    flag: '--log-level',
    placeholder: 'LEVEL',
    help: `diagnostics on standard error: ${LOG_LEVELS.join(', ')}`,
    fallback: 'info',
    check: checkLogLevel,
  },
  logQueryValues: {
    flag: '--log-query-values',
    placeholder: undefined,
    help: 'write query values to the audit records as they are (they may be secrets)',
    fallback: 'false',
    check: checkSwitch,
  },
} as const satisfies Record<string, OptionSpec<unknown>>;

export type OptionName = keyof typeof OPTION_TABLE;
