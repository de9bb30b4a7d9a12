/**
 * A short-lived container of the appliance's image inside the network namespace of an agent: it sees what the agent
 * sees, trusts nothing of the agent's files, and has no capability. The engine gives both the same resolv.conf file,
 * so it can also write that one, for agents whose own file system is read-only too.
 */
import { type Engine, said } from './engine.ts';
import { Collected, type Ran, untilEnd } from './exec.ts';

/** So that `ps` and `watch` know it for ours. */
export const ROLE_LABEL = 'outcall.role';

export interface BesideSpec {
  readonly imageId: string;
  /** The container whose network namespace it runs in. */
  readonly networkOf: string;
  readonly command: readonly string[];
}

/** Runs it to its end and removes it, whatever happens. Rejects with DockerFailure. */
export async function runBeside(engine: Engine, { imageId, networkOf, command }: BesideSpec): Promise<Ran> {
  const [program = '', ...args] = command;
  const container = await said(
    'making a helper container',
    engine.docker.createContainer({
      Image: imageId,
      Entrypoint: [program],
      Cmd: args,
      User: '0',
      Labels: { [ROLE_LABEL]: 'helper' },
      Healthcheck: { Test: ['NONE'] },
      HostConfig: {
        NetworkMode: `container:${networkOf}`,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges:true'],
        RestartPolicy: { Name: 'no' },
      },
    }),
  );
  try {
    return await runToEnd(engine, container.id);
  } finally {
    await said('removing a helper container', container.remove({ force: true, v: true }));
  }
}

async function runToEnd(engine: Engine, id: string): Promise<Ran> {
  const container = engine.docker.getContainer(id);
  const doing = 'running a helper container';
  // Attached before it starts: what it prints is there whole, whichever logging driver the engine has.
  const stream = await said(doing, container.attach({ stream: true, stdout: true, stderr: true }));
  const out = new Collected();
  const err = new Collected();
  engine.docker.modem.demuxStream(stream, out, err);
  const ended = untilEnd(stream, doing);
  ended.catch(() => undefined); // where the start fails, nobody waits for it
  try {
    await said(doing, container.start());
    await ended;
  } finally {
    (stream as unknown as { destroy(): void }).destroy();
  }
  const { StatusCode } = (await said(doing, container.wait())) as { StatusCode: number };
  return { code: StatusCode, out: out.text, err: err.text, absent: false };
}
