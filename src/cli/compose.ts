/**
 * `outcall compose [SERVICE]`: the lines that put a service of the user's own compose file behind the appliance from its
 * first moment. Asks nobody; pastes nowhere.
 */
import { type Command, Option } from 'commander';
import { TRUST_FOLDER, TRUST_VARIABLES } from '../docker/variables.ts';
import type { CliIo } from './io.ts';

/** As compose/appliance.yaml has them. */
const DEFAULT_ADDRESS = '10.203.0.2';
const TRUST_VOLUME = 'outcall-trust';

interface ComposeOptions {
  readonly network: string;
  readonly address: string;
}

export function addComposeCommand(program: Command, io: CliIo): void {
  program
    .command('compose')
    .description('print the lines for a service of your own compose file')
    .argument('[service]', 'its name', 'agent')
    .addOption(new Option('--network <name>', "the agents' network").env('OUTCALL_NETWORK').default('outcall'))
    .addOption(
      new Option('--address <ip>', "the appliance's address there").env('OUTCALL_ADDRESS').default(DEFAULT_ADDRESS),
    )
    .action((service: string, options: ComposeOptions) => io.out(composeLines(service, options)));
}

function composeLines(service: string, { network, address }: ComposeOptions): string {
  const variables = TRUST_VARIABLES.map(({ name, value }) => `      ${name}: ${value}`).join('\n');
  return `services:
  ${service}:
    # The only network: any other is a way round the rules.
    networks: [outcall]
    dns: [${address}]
    # With raw sockets a container could pose as its neighbours.
    cap_drop: [NET_RAW]
    volumes:
      - ${TRUST_VOLUME}:${TRUST_FOLDER}:ro
    environment:
${variables}

networks:
  outcall:
    name: ${network}
    external: true

volumes:
  ${TRUST_VOLUME}:
    external: true
`;
}
