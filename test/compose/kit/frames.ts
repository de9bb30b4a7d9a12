/** Frames made by hand in one container, and what of them arrives in the network namespace of another: every one, by sender. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunOptions, type RunResult, run } from '../../kit/run.ts';
import { docker, tryDocker } from './lab.ts';

const FRAMES = join(import.meta.dirname, 'frames.py');

export interface Station {
  readonly mac: string;
  readonly ip: string;
}

/** MAC and address that the engine gave a container on a network. */
export async function stationOf(container: string, network: string): Promise<Station> {
  const format = `{{with index .NetworkSettings.Networks "${network}"}}{{.MacAddress}} {{.IPAddress}}{{end}}`;
  const [mac = '', ip = ''] = (await docker(['inspect', '-f', format, container])).split(' ');
  return { mac, ip };
}

/** `as`: whom the frames say they are of; `self` as its MAC is the container's own. */
export async function sendAs(
  container: string,
  own: Station,
  what: 'everything' | 'claim' | readonly ['ask', string],
  as: Station,
  to: Station,
): Promise<void> {
  const [kind, ...rest] = typeof what === 'string' ? [what] : what;
  const args = [own.ip, kind, as.mac, as.ip, to.mac, to.ip, ...rest];
  const { code, stderr } = await tryDocker(['exec', '-i', container, 'python3', '-', ...args], {
    input: readFileSync(FRAMES),
  });
  if (code !== 0) throw new Error(stderr);
}

/** Writes down who sends what to a container; drops nothing. Ends with the container. */
export class FrameWitness {
  readonly #enter: readonly [string, ...string[]];

  static async open(container: string, { ip }: Station): Promise<FrameWitness> {
    const pid = await docker(['inspect', '-f', '{{.State.Pid}}', container]);
    const witness = new FrameWitness(['nsenter', `--net=/proc/${pid}/ns/net`]);
    const { stdout } = await witness.#run(['ip', '-4', '-o', 'addr', 'show']);
    const device = stdout
      .split('\n')
      .find((line) => line.includes(` ${ip}/`))
      ?.split(/\s+/)[1];
    const loaded = await witness.#run(['nft', '-f', '-'], {
      input: `table netdev witness {
        set frames { typeof ether saddr . meta protocol; flags dynamic; size 65535; }
        chain arriving {
          type filter hook ingress device "${device}" priority -500; policy accept;
          add @frames { ether saddr . meta protocol }
        }
      }`,
    });
    if (loaded.code !== 0) throw new Error(loaded.stderr);
    return witness;
  }

  private constructor(enter: readonly [string, ...string[]]) {
    this.#enter = enter;
  }

  /** `MAC KIND` of every frame that arrived since the last reset. */
  async seen(): Promise<readonly string[]> {
    const { stdout } = await this.#run(['nft', '-j', 'list', 'set', 'netdev', 'witness', 'frames']);
    const { nftables } = JSON.parse(stdout) as { nftables: readonly { set?: { elem?: readonly Element[] } }[] };
    return nftables.flatMap(({ set }) => set?.elem ?? []).map(({ concat }) => concat.join(' '));
  }

  async reset(): Promise<void> {
    await this.#run(['nft', 'flush', 'set', 'netdev', 'witness', 'frames']);
  }

  #run(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const [program, ...args] = this.#enter;
    return run(program, [...args, ...command], options);
  }
}

interface Element {
  readonly concat: readonly (string | number)[];
}
