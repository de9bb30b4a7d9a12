/** Why our own resolver has no answer: a code as c-ares names it, so that one function reads all resolvers' errors. */
export class ResolverError extends Error {
  /** ENOTFOUND, ENODATA, ETIMEOUT, EBADRESP, or E and the name of the server's rcode: ESERVFAIL, EREFUSED. */
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.name = 'ResolverError';
    this.code = code;
  }
}
