import { describe, expect, it } from 'vitest';
import { acceptedForm } from '../../../src/wire/accept.ts';

describe('the form of an answer', () => {
  it.each([
    ['application/json', 'json'],
    ['Application/JSON ; charset=utf-8', 'json'],
    ['application/vnd.github+json', 'json'],
    ['text/plain', 'text'],
    ['text/*;q=0.2', 'text'],
    ['application/json, text/plain, */*', 'json'],
    ['application/json;q=0.5, text/plain', 'text'],
    ['text/plain;q=0.5, application/json;q=0.8', 'json'],
    ['text/html, application/json;q=0.9', 'json'],
  ])('follows what Accept names: %s', (accept, form) => {
    expect(acceptedForm(accept)).toBe(form);
  });

  it.each([
    [undefined],
    [''],
    ['*/*'],
    ['application/*'],
    ['text/html'],
    ['application/json;q=0'],
    ['application/jsonp'],
    ['xapplication/json'],
    [`${'a/b, '.repeat(300)}application/json`],
  ])('is open where Accept names neither: %s', (accept) => {
    expect(acceptedForm(accept)).toBeUndefined();
  });
});
