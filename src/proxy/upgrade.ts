/**
 * WebSocket upgrades over HTTP/1.1 (RFC 6455 section 4; S011-EC-007; threat 12): the handshake is checked;
 * the frames are then relayed unread.
 */
import { createHash } from 'node:crypto';

import { fieldValue } from '../domain/facts.ts';
import type { RequestHead, ResponseHead } from '../wire/http1-head.ts';

/** RFC 6455 section 1.3. */
const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export function isWebSocketRequest(head: RequestHead): boolean {
  return head.upgrade === 'websocket';
}

/** Whether a 101 answers this request's key; anything else is a raw pipe in disguise. */
export function isValidSwitch(request: RequestHead, response: ResponseHead): boolean {
  const key = fieldValue(request.headers, 'sec-websocket-key');
  if (key === undefined || response.upgrade !== 'websocket') return false;
  return (
    fieldValue(response.headers, 'sec-websocket-accept') ===
    createHash('sha1')
      .update(key + HANDSHAKE_GUID)
      .digest('base64')
  );
}
