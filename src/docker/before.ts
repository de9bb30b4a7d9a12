/**
 * What a container was before it was attached, kept where it lives and ends with the attachment itself: in the driver
 * options of its endpoint on our network. The engine keeps them over restarts of container and engine, the container
 * cannot change them, and nothing on disk can get out of step. The bridge driver ignores options it does not know.
 */
import type { ContainerView, EndpointSettings } from './container-view.ts';

const OPTION = 'outcall.before';

export interface Before {
  readonly version: 1;
  /** Its other networks, with what a `connect` needs to make each endpoint again. */
  readonly networks: Readonly<Record<string, EndpointSettings>>;
  /** Its resolv.conf; null where it could not be read. */
  readonly resolvConf: string | null;
  /** It is a copy with mounts and variables; this one, stopped and renamed, is the container that was. */
  readonly replaces?: { readonly id: string; readonly restart: string };
}

/** The endpoint settings of an attached container. */
export function attachedSettings(address: string, before: Before): EndpointSettings {
  return { IPAMConfig: { IPv4Address: address }, DriverOpts: { [OPTION]: JSON.stringify(before) } };
}

/** Undefined where the container is not attached to this network. */
export function beforeOf(container: ContainerView, network: string): Before | undefined {
  const text = container.networks.get(network)?.settings.DriverOpts?.[OPTION];
  if (text === undefined) return undefined;
  const parsed = JSON.parse(text) as Before;
  return parsed.version === 1 ? parsed : undefined;
}
