/** The code of an error of Node, OpenSSL or c-ares: `ECONNREFUSED`, `CERT_HAS_EXPIRED`, `ENOTFOUND`. */
export function errorCode(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}
