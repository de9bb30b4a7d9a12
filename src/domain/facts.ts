/**
 * What policy may see of a flow. Plain data: made by the doors, read by policy, never changed.
 */
import type { Host } from './hostname.ts';

/** The container behind the appliance, as far as it is known. */
export interface AgentFacts {
  /** Container name; empty when unknown. */
  readonly name: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Source address in canonical form. */
  readonly ip: string;
}

/** Known when a connection is asked for. */
export interface ConnectFacts {
  readonly agent: AgentFacts;
  /** Canonical host of the CONNECT target, absolute URI, or synthetic address. */
  readonly host: Host;
  readonly port: number;
}

/** What a ClientHello offers. */
export interface TlsFacts {
  /** Canonical, of the plain server_name extension; empty where there is none. */
  readonly sni: string;
  /** The highest that is offered: `1.3`, `1.2`, `1.1`, `1.0`. */
  readonly version: string;
  /** In the client's order. */
  readonly alpn: readonly string[];
}

/** Known once the ClientHello has been read. */
export interface HelloFacts extends ConnectFacts {
  readonly tls: TlsFacts;
}

/** What a server's certificate says, and what has been verified of it. */
export interface CertificateFacts {
  /** Empty where the subject has none, as issuerCn. */
  readonly subjectCn: string;
  /** DNS names in lower case, and addresses in canonical form. */
  readonly san: readonly string[];
  readonly issuerCn: string;
  /** Of the DER certificate: 64 lower-case hex digits. */
  readonly fingerprintSha256: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /**
   * Ids of the trust sets under which everything holds: the chain, the dates, the name that the client asked for, and
   * that nothing says it was revoked.
   */
  readonly validUnder: readonly string[];
}

/** Known when a name is asked of the DNS filter. */
export interface NameFacts {
  readonly agent: AgentFacts;
  /** Canonical, a name and not an address. */
  readonly host: Host;
  /** `A`, `TXT`, ...: see wire/dns-codes. */
  readonly recordType: string;
}

/**
 * Header fields in order, flat: name, value, name, value. Names as received, values without outer white space.
 * The same shape as node's rawHeaders.
 */
export type HeaderList = readonly string[];

/** The first field of that (lower-case) name; undefined when there is none. */
export function fieldValue(headers: HeaderList, lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.length === lowerName.length && name.toLowerCase() === lowerName) return headers[i + 1];
  }
  return undefined;
}

export type Scheme = 'http' | 'https';

/** Known once a request head has been read. */
export interface RequestFacts extends ConnectFacts {
  readonly scheme: Scheme;
  /** Upper-case for the methods of RFC 9110; any other token as sent (methods are case-sensitive). */
  readonly method: string;
  /** Path and query exactly as they will be forwarded (normalised by wire/target). */
  readonly target: string;
  readonly headers: HeaderList;
  /** Content-Length, or the bytes buffered so far for match_body; 0 when neither is known. */
  readonly bodySize: number;
  /** undefined: not read (yet); null: read in part or undecodable, so unavailable; else the decoded text. */
  readonly body: string | null | undefined;
  /** Of the connection that was decrypted. */
  readonly tls?: TlsFacts | undefined;
}

/** Known once the head of the final response has been read (a 101 is final). */
export interface ResponseFacts {
  readonly status: number;
  readonly headers: HeaderList;
}
