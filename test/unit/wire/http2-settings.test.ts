import { describe, expect, it } from 'vitest';
import { H2_CODE } from '../../../src/wire/http2-frames.ts';
import { PeerSettings, SETTING, settingsFrame } from '../../../src/wire/http2-settings.ts';

const HEAD_BYTES = 9;
type Pairs = readonly (readonly [id: number, value: number])[];

/** The code of the fault that such a frame of `peer` is, or undefined. */
function codeOf(pairs: Pairs, peer: 'server' | 'client' = 'client', settings = new PeerSettings()): number | undefined {
  const bytes = settingsFrame(pairs);
  return settings.apply(bytes, HEAD_BYTES, bytes.length, peer)?.code;
}

describe('SETTINGS', () => {
  it('are as written, and what is unknown is let be', () => {
    const settings = new PeerSettings();
    const said: Pairs = [
      [SETTING.headerTableBytes, 0],
      [SETTING.maxStreams, 7],
      [SETTING.initialWindowBytes, 0x7fffffff],
      [SETTING.connectProtocol, 1],
      [0xff, 0xffffffff],
    ];
    expect(codeOf(said, 'client', settings)).toBeUndefined();
    const { headerTableBytes, maxStreams, initialWindowBytes, connectProtocol } = settings;
    expect([headerTableBytes, maxStreams, initialWindowBytes, connectProtocol]).toEqual([0, 7, 0x7fffffff, true]);
  });

  it.each([
    ['ENABLE_PUSH', SETTING.enablePush, 2, 1, H2_CODE.protocolError],
    ['INITIAL_WINDOW_SIZE', SETTING.initialWindowBytes, 0x80000000, 0x7fffffff, H2_CODE.flowControlError],
    ['MAX_FRAME_SIZE below', SETTING.maxFrameBytes, 16_383, 16_384, H2_CODE.protocolError],
    ['MAX_FRAME_SIZE above', SETTING.maxFrameBytes, 16_777_216, 16_777_215, H2_CODE.protocolError],
    ['ENABLE_CONNECT_PROTOCOL', SETTING.connectProtocol, 2, 1, H2_CODE.protocolError],
  ] as const)('have their range: %s', (_, id, outside, inside, code) => {
    expect(codeOf([[id, outside]])).toBe(code);
    expect(codeOf([[id, inside]])).toBeUndefined();
  });

  it('of a server never offer push, and those of a client may', () => {
    expect(codeOf([[SETTING.enablePush, 1]], 'server')).toBe(H2_CODE.protocolError);
    expect(codeOf([[SETTING.enablePush, 1]], 'client')).toBeUndefined();
    expect(codeOf([[SETTING.enablePush, 0]], 'server')).toBeUndefined();
  });

  it('do not take extended CONNECT back once it was offered', () => {
    const settings = new PeerSettings();
    expect(codeOf([[SETTING.connectProtocol, 0]], 'server', settings)).toBeUndefined();
    expect(codeOf([[SETTING.connectProtocol, 1]], 'server', settings)).toBeUndefined();
    expect(codeOf([[SETTING.connectProtocol, 0]], 'server', settings)).toBe(H2_CODE.protocolError);
  });

  it('are whole, and not too many', () => {
    const bytes = settingsFrame([[1, 1]]);
    expect(new PeerSettings().apply(bytes, HEAD_BYTES, bytes.length - 1, 'client')?.code).toBe(H2_CODE.frameSizeError);
    expect(codeOf(Array.from({ length: 32 }, () => [1, 1] as const))).toBeUndefined();
    expect(codeOf(Array.from({ length: 33 }, () => [1, 1] as const))).toBe(H2_CODE.enhanceYourCalm);
  });
});
