/**
 * The way of an allowed request to a session with its origin: one at hand, or made now; with room for one more stream.
 */
import { asFailure, FlowFailure } from '../domain/failure.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import type { H2Connection } from './h2-connection.ts';
import type { OriginSession } from './h2-upstream.ts';

export interface RouteOwner {
  /** The request still wants to go. */
  readonly awaitsSession: boolean;
  /** The request is an extended CONNECT (RFC 8441). */
  readonly isExtendedConnect: boolean;
  /** A stream may be opened there, now. */
  onSession(session: OriginSession): void;
  fail(failure: FlowFailure): void;
}

/** Sessions that an origin may leave while one request waits for room there; after that it only makes us dial. */
const MAX_LEFT = 2;

/** Calls `onSession` or `fail` once, at once where a session is at hand; neither where the request does not wait any more. */
export function findSession(connection: H2Connection, origin: OriginRequest, owner: RouteOwner, left = 0): void {
  const session = connection.sessionAtHand(origin);
  if (session === undefined) void find(connection, origin, owner, left);
  else offer(connection, origin, owner, session, left);
}

async function find(connection: H2Connection, origin: OriginRequest, owner: RouteOwner, left: number): Promise<void> {
  try {
    offer(connection, origin, owner, await connection.sessionFor(origin), left);
  } catch (error) {
    owner.fail(asFailure(error));
  }
}

function offer(
  connection: H2Connection,
  origin: OriginRequest,
  owner: RouteOwner,
  session: OriginSession,
  left: number,
): void {
  if (!owner.awaitsSession) return;
  if (!session.usable) owner.fail(new FlowFailure('origin_closed', { detail: 'session closed' }));
  else if (owner.isExtendedConnect && !session.takesExtendedConnect) {
    owner.fail(new FlowFailure('origin_malformed', { detail: 'an origin that takes no extended CONNECT any more' }));
  } else if (session.hasRoom) owner.onSession(session);
  else {
    session.awaitRoom(owner, () => {
      if (session.usable) findSession(connection, origin, owner, left);
      else if (!owner.awaitsSession) return;
      else if (left < MAX_LEFT) findSession(connection, origin, owner, left + 1);
      else owner.fail(new FlowFailure('origin_closed', { detail: 'sessions that leave before they have room' }));
    });
  }
}
