import { describe, expect, it } from 'vitest';
import { liveTranscript, readmeTranscript } from '../../scripts/transcript.ts';
import { hasProgram } from '../kit/run.ts';

/** curl words the refusal of a CONNECT differently in each version. */
function withoutCurlsWords(transcript: string): string {
  return transcript.replaceAll(/curl: \(56\).*403.*/g, 'curl: (56) 403');
}

describe('npm start', () => {
  it.skipIf(!hasProgram('curl'))('prints what README.md shows: one request allowed and two refused', () => {
    expect(withoutCurlsWords(liveTranscript())).toBe(withoutCurlsWords(readmeTranscript()));
  });
});
