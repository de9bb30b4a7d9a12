/** Options that several commands of `outcall ca` have. */
import { InvalidArgumentError, Option } from 'commander';
import { canonicalHost, isAddress } from '../domain/hostname.ts';

/** `--permit-domains a.test,b.test`: names in canonical form. */
export function permitDomainsOption(): Option {
  return new Option('--permit-domains <names>', 'it can sign for these domains and names below them, for nothing else')
    .argParser(domainsOf)
    .default([], 'any host');
}

function domainsOf(text: string): readonly string[] {
  return text.split(',').map((item) => {
    const host = canonicalHost(item.trim());
    if (host === undefined || isAddress(host)) {
      throw new InvalidArgumentError(
        `${JSON.stringify(item)} is no domain name; write --permit-domains api.example.com`,
      );
    }
    return host;
  });
}
