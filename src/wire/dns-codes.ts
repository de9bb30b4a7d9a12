/**
 * Numbers of DNS that this project speaks of, and the names that rules and records use for them.
 * Source: the IANA registry "Domain Name System (DNS) Parameters".
 */

export const TYPE = { A: 1, CNAME: 5, SOA: 6, PTR: 12, AAAA: 28, OPT: 41, SVCB: 64, HTTPS: 65 } as const;

export const CLASS_IN = 1;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** Of 12 bits: the upper eight stand in the OPT record (RFC 6891 section 6.1.3). */
  BADVERS: 16,
} as const;

/** Info codes of Extended DNS Errors (RFC 8914 section 4). */
export const EDE = { OTHER: 0, BLOCKED: 15, PROHIBITED: 18, NOT_SUPPORTED: 21 } as const;

/** RFC 1035 section 4.1.1. */
export const HEADER_BYTES = 12;

const TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'A'],
  [2, 'NS'],
  [5, 'CNAME'],
  [6, 'SOA'],
  [10, 'NULL'],
  [12, 'PTR'],
  [13, 'HINFO'],
  [15, 'MX'],
  [16, 'TXT'],
  [28, 'AAAA'],
  [29, 'LOC'],
  [33, 'SRV'],
  [35, 'NAPTR'],
  [37, 'CERT'],
  [39, 'DNAME'],
  [41, 'OPT'],
  [43, 'DS'],
  [44, 'SSHFP'],
  [46, 'RRSIG'],
  [47, 'NSEC'],
  [48, 'DNSKEY'],
  [50, 'NSEC3'],
  [52, 'TLSA'],
  [53, 'SMIMEA'],
  [61, 'OPENPGPKEY'],
  [64, 'SVCB'],
  [65, 'HTTPS'],
  [99, 'SPF'],
  [251, 'IXFR'],
  [252, 'AXFR'],
  [255, 'ANY'],
  [256, 'URI'],
  [257, 'CAA'],
]);

const RCODE_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(RCODE).map(([name, code]) => [code, name]));

/** `A`, `TXT`, ..., or `TYPE` and the number (RFC 3597 section 5). */
export function typeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `TYPE${type}`;
}

/** `NXDOMAIN`, ..., or `RCODE` and the number. */
export function rcodeName(rcode: number): string {
  return RCODE_NAMES.get(rcode) ?? `RCODE${rcode}`;
}

/** Types that are no data of a name: OPT and what RFC 6895 section 3.1 keeps for questions and transfers, ANY among it. */
export function isMetaType(type: number): boolean {
  return type === 0 || type === TYPE.OPT || (type >= 128 && type <= 255);
}
