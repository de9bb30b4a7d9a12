/**
 * How much one agent may ask of the DNS filter, and one of its streams (threats 16, 37).
 */

export interface DnsLimits {
  /** Per agent, and for all strangers together. */
  readonly queriesPerSecond: number;
  /** Queries at once after a pause. */
  readonly queryBurst: number;
  /** Per agent, of queries that a rule sends on to our resolver: those can carry data out. */
  readonly relaysPerSecond: number;
  readonly relayBurst: number;
  readonly maxStreamsPerAgent: number;
  readonly maxStreams: number;
  /** Absolute, from one whole query over TCP to the next. */
  readonly streamIdleMs: number;
  readonly maxStreamQueryBytes: number;
}

export const DNS_LIMITS: DnsLimits = {
  // A busy client without a cache asks twice per connection (A and AAAA).
  queriesPerSecond: 1_000,
  queryBurst: 2_000,
  relaysPerSecond: 20,
  relayBurst: 40,
  // RFC 7766 section 6.2.2 wants clients to keep to one.
  maxStreamsPerAgent: 16,
  maxStreams: 1_024,
  // RFC 7766 section 6.2.3: "in the order of a few seconds".
  streamIdleMs: 10_000,
  // The longest name with EDNS options and padding (RFC 8467) is far below.
  maxStreamQueryBytes: 4_096,
};
