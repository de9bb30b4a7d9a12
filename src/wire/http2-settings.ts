/**
 * SETTINGS of HTTP/2 (RFC 9113 section 6.5, RFC 8441 section 3): what a peer says, with its ranges, and our own as bytes.
 */
import {
  FLAG,
  FRAME,
  FRAME_HEAD_BYTES,
  H2_CODE,
  type H2Fault,
  putFrameHead,
  putUint32,
  uint32At,
} from './http2-frames.ts';
import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES } from './http2-windows.ts';

/** RFC 9113 section 6.5.2; `connectProtocol` of RFC 8441. */
export const SETTING = {
  headerTableBytes: 1,
  enablePush: 2,
  maxStreams: 3,
  initialWindowBytes: 4,
  maxFrameBytes: 5,
  maxListBytes: 6,
  connectProtocol: 8,
} as const;

const SETTING_BYTES = 6;
/** Six are defined, and a few more registered; as nghttp2. */
const MAX_SETTINGS = 32;
const LEAST_MAX_FRAME_BYTES = 16_384;
const GREATEST_MAX_FRAME_BYTES = 16_777_215;
/** RFC 7541 section 4.2 by RFC 9113 section 6.5.2. */
const DEFAULT_TABLE_BYTES = 4_096;

/** What the peer has said so far; until then the defaults. */
export class PeerSettings {
  headerTableBytes = DEFAULT_TABLE_BYTES;
  /** Streams that we may have open. */
  maxStreams = Number.POSITIVE_INFINITY;
  initialWindowBytes = DEFAULT_WINDOW_BYTES;
  connectProtocol = false;

  /** Takes the payload of one SETTINGS frame that is no acknowledgement. `peer`: who sent it. */
  apply(bytes: Buffer, start: number, end: number, peer: 'server' | 'client'): H2Fault | undefined {
    if ((end - start) % SETTING_BYTES !== 0)
      return { code: H2_CODE.frameSizeError, detail: 'SETTINGS of no whole length' };
    if (end - start > MAX_SETTINGS * SETTING_BYTES)
      return { code: H2_CODE.enhanceYourCalm, detail: 'too many settings' };
    for (let at = start; at < end; at += SETTING_BYTES) {
      const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      const fault = this.#set(id, uint32At(bytes, at + 2), peer);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #set(id: number, value: number, peer: 'server' | 'client'): H2Fault | undefined {
    switch (id) {
      case SETTING.headerTableBytes:
        this.headerTableBytes = value;
        return undefined;
      case SETTING.enablePush:
        return value > 1 || (peer === 'server' && value === 1) ? outOfRange('ENABLE_PUSH') : undefined;
      case SETTING.maxStreams:
        this.maxStreams = value;
        return undefined;
      case SETTING.initialWindowBytes:
        if (value > MAX_WINDOW_BYTES)
          return { code: H2_CODE.flowControlError, detail: 'an initial window out of range' };
        this.initialWindowBytes = value;
        return undefined;
      case SETTING.maxFrameBytes:
        // We send no more than the least in any case.
        return value < LEAST_MAX_FRAME_BYTES || value > GREATEST_MAX_FRAME_BYTES
          ? outOfRange('MAX_FRAME_SIZE')
          : undefined;
      case SETTING.connectProtocol:
        // RFC 8441 section 3: what was offered is not taken back.
        if (value > 1 || (this.connectProtocol && value === 0)) return outOfRange('ENABLE_CONNECT_PROTOCOL');
        this.connectProtocol = value === 1;
        return undefined;
      default:
        return undefined;
    }
  }
}

/** A SETTINGS frame. */
export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const length = settings.length * SETTING_BYTES;
  const out = Buffer.alloc(FRAME_HEAD_BYTES + length);
  let at = putFrameHead(out, 0, length, FRAME.settings, 0, 0);
  for (const [id, value] of settings) {
    out[at + 1] = id;
    at = putUint32(out, at + 2, value);
  }
  return out;
}

/** Says that the peer's SETTINGS are in force. */
export const SETTINGS_ACK: Buffer = (() => {
  const out = Buffer.alloc(FRAME_HEAD_BYTES);
  putFrameHead(out, 0, 0, FRAME.settings, FLAG.ack, 0);
  return out;
})();

function outOfRange(name: string): H2Fault {
  return { code: H2_CODE.protocolError, detail: `${name} out of range` };
}
