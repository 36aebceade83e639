import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renderMarkdown } from '../../src-renderer/markdown/render.ts';
import { pieces, SHOWN_MAX, shorten } from '../../src-renderer/markdown/shorten.ts';

/** Tags and attributes that came out, without the text between them. */
const tagsOf = (html: string): string[] => html.match(/<[^>]*>/g) ?? [];

describe('hostile text does nothing', () => {
  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<svg/onload=alert(1)>',
    '<iframe srcdoc="<script>alert(1)</script>">',
    '<style>*{display:none}</style>',
    '<a href="javascript:alert(1)">x</a>',
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](java\tscript:alert(1))',
    '[x](&#106;avascript:alert(1))',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '[x](vbscript:x)',
    '[x](file:///etc/passwd)',
    '[x](synod://y)',
    '[x](//evil.example)',
    '<javascript:alert(1)>',
    '[x][1]\n\n[1]: javascript:alert(1)',
    '![x](javascript:alert(1))',
    '![x](http://evil.example/pixel.png "onload=alert(1)")',
    '![x" onerror="alert(1)](http://evil.example/pixel.png)',
    '```"><script>alert(1)</script>\nx\n```',
    '# <b onclick=alert(1)>x</b>',
  ])('%s', (text) => {
    for (const tag of tagsOf(renderMarkdown(text))) {
      expect(tag).not.toMatch(/<(script|img|svg|iframe|style|b|object|embed|form|input)\b/i);
      expect(tag).not.toMatch(/\son\w+=/i);
      expect(tag).not.toMatch(/(href|src)="(?!https?:\/\/|mailto:)/i);
      expect(tag).not.toMatch(/\ssrc=/i);
    }
  });

  test('whatever it is made of', () => {
    const part = fc.constantFrom(
      '<',
      '>',
      '"',
      "'",
      '[',
      ']',
      '(',
      ')',
      '!',
      'javascript:',
      'a',
      '`',
      '*',
      '\n',
      '&#',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        for (const tag of tagsOf(renderMarkdown(parts.join('')))) {
          expect(tag).toMatch(
            /^<\/?(p|br|em|strong|s|code|pre|blockquote|ul|ol|li|a|span|hr|table|thead|tbody|tr|th|td)\b/,
          );
          expect(tag).not.toContain('javascript:');
        }
      }),
    );
  });
});

test('a good link leads out, without telling where from', () => {
  const html = renderMarkdown('[x](https://example.org/a?b=c) [y](mailto:a@example.org)');
  expect(html).toContain('href="https://example.org/a?b=c" rel="noopener noreferrer" target="_blank"');
  expect(html).toContain('href="mailto:a@example.org"');
});

test('a picture is its words and its address', () => {
  expect(renderMarkdown('![a *cat*](https://example.org/c.png)')).toContain('[a *cat*] https://example.org/c.png');
});

test('blocks find their own direction, and headings are no headings of the page', () => {
  const html = renderMarkdown('# Plan\n\nשלום');
  expect(html).toContain('<p class="heading" dir="auto">Plan</p>');
  expect(html).toContain('<p dir="auto">שלום</p>');
});

describe('long texts', () => {
  test('show their beginning, up to a word', () => {
    const text = 'word '.repeat(10_000);
    const start = shorten(text);
    expect(start.length).toBeLessThanOrEqual(SHOWN_MAX);
    expect(start.endsWith('word')).toBe(true);
    expect(shorten('short')).toBe('short');
  });

  test('never end in half a character', () => {
    const text = `a${'😀'.repeat(SHOWN_MAX)}`;
    expect(shorten(text).isWellFormed()).toBe(true);
    for (const piece of pieces(text)) expect(piece.isWellFormed()).toBe(true);
    expect(pieces(text).join('')).toBe(text);
  });
});
