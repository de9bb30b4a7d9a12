/** An agent that has gone bad: root in its container, with what Docker gives by default, and all tools of images/attacker. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Enter } from '../../kit/namespace-listener.ts';
import { RAW_SENDER } from '../../kit/raw-sender.ts';
import { type Agent, type AgentOptions, startAgent } from './agent.ts';
import { docker } from './lab.ts';

const ATTEMPTS = join(import.meta.dirname, 'attempts.py');

export function startAttacker(options: Omit<AgentOptions, 'image'> = {}): Promise<Agent> {
  return startAgent({ ...options, image: 'outcall-attacker' });
}

/**
 * All that sockets can do towards these addresses; gives what was answered, as `PROTOCOL ADDRESS PORT open|refused`.
 * `awaited`, each as `PROTOCOL ADDRESS PORT`: what has to answer, and so is given time to on a busy machine.
 */
export async function tryEverything(
  agent: Agent,
  addresses: readonly string[],
  awaited: readonly string[],
): Promise<readonly string[]> {
  const { stdout } = await python(agent, ATTEMPTS, [...awaited.flatMap((each) => ['--awaited', each]), ...addresses]);
  return stdout.split('\n').filter(Boolean);
}

/** Frames made by hand, to the MAC `via` or to that of the appliance, with packets for these addresses inside. */
export function sendFrames(agent: Agent, via: string, addresses: readonly string[]): Promise<unknown> {
  return python(agent, RAW_SENDER, [via, ...addresses]);
}

/** Runs a Python program in the container; rejects when it fails. */
async function python(agent: Agent, file: string, args: readonly string[]): Promise<{ readonly stdout: string }> {
  const ran = await agent.exec(['python3', '-', ...args], { input: readFileSync(file), timeoutMs: PROGRAM_MS });
  if (ran.code !== 0) throw new Error(ran.stderr);
  return ran;
}

/** Some hundred attempts at a time take a few seconds on a busy machine. */
const PROGRAM_MS = 60_000;

/** The command that runs a program of ours in the network namespace of a container. */
export async function enterContainer(container: string): Promise<Enter> {
  const pid = await docker(['inspect', '-f', '{{.State.Pid}}', container]);
  return ['nsenter', `--net=/proc/${pid}/ns/net`];
}
