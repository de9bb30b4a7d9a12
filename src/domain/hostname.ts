/**
 * The one canonical form of a host, whoever named it: CONNECT, Host, :authority, SNI, DNS or a rule.
 * What comes out of here is what rules see, what is resolved and what is dialled (threats 4, 5, 6).
 * Does not resolve and does not judge addresses: see ip.ts and upstream.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';

/** A canonical host: a lower-case ASCII DNS name without trailing dot, or a canonical IP address without brackets. */
export type Host = string & { readonly __host: unique symbol };

/** RFC 1035 section 2.3.4: a name is at most 253 characters in presentation form, a label at most 63. */
const MAX_NAME_CHARS = 253;
const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
/** A last label of digits (or 0x…) makes WHATWG and libc readers take the whole for an IPv4 address. */
const NUMERIC_LABEL = /^(?:[0-9]+|0x[0-9a-f]*)$/;
/** Starts a label that stands for a Unicode one (RFC 5890 section 2.3.2.1). */
const ACE_PREFIX = 'xn--';

/** One connection names its host three times: in CONNECT, in SNI and in Host. */
let lastName: string | undefined;
let lastCanonical: Host | undefined;

/**
 * Canonicalises one host as written (no port; IPv6 may be in brackets).
 * Returns undefined for anything that two readers could take for different hosts: control bytes, percent signs,
 * empty or over-long labels, zone ids, and every IPv4 spelling but four plain decimal numbers.
 */
export function canonicalHost(text: string): Host | undefined {
  if (text.length === 0 || text.length > MAX_NAME_CHARS + 2) return undefined;
  if (text.startsWith('[')) {
    return text.endsWith(']') ? canonicalIPv6(text.slice(1, -1)) : undefined;
  }
  if (text.includes(':')) return canonicalIPv6(text);
  if (isIPv4(text)) return text as Host;
  if (text !== lastName) {
    lastCanonical = canonicalName(text);
    lastName = text;
  }
  return lastCanonical;
}

/** True where the host is an IP address rather than a name. */
export function isAddress(host: Host): boolean {
  return isIPv4(host) || host.includes(':');
}

/** The host as it stands in a URL or Host header: IPv6 in brackets. */
export function hostInUrl(host: Host): string {
  return host.includes(':') ? `[${host}]` : host;
}

function canonicalIPv6(text: string): Host | undefined {
  if (!isIPv6(text) || text.includes('%')) return undefined;
  return new URL(`http://[${text}]/`).hostname.slice(1, -1) as Host;
}

function canonicalName(text: string): Host | undefined {
  // Checked before IDNA, which would map or drop some of these (RFC 5891 section 4.2.3; WHATWG forbidden code points).
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code === 0x7f || code === 0x25) return undefined;
  }
  const ascii = isPlainAscii(text) ? text.toLowerCase() : domainToASCII(text);
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  if (name.length === 0 || name.length > MAX_NAME_CHARS) return undefined;
  const labels = name.split('.');
  if (!labels.every((label) => LABEL.test(label))) return undefined;
  if (NUMERIC_LABEL.test(labels[labels.length - 1] as string)) return undefined;
  if (labels.some((label) => label.startsWith(ACE_PREFIX)) && !isWrittenByIdna(name)) return undefined;
  return name as Host;
}

/** Node's domainToASCII lets any xn-- label pass, so the way there and back is what shows that IDNA can write it. */
function isWrittenByIdna(name: string): boolean {
  const unicode = domainToUnicode(name);
  return !unicode.split('.').some((label) => label.startsWith(ACE_PREFIX)) && domainToASCII(unicode) === name;
}

function isPlainAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
