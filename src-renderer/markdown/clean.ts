import DOMPurify from 'dompurify';
import { renderMarkdown } from './render.ts';

const TAGS = 'p br hr em strong s code pre blockquote ul ol li a span table thead tbody tr th td'.split(' ');
const ATTRIBUTES = ['href', 'rel', 'target', 'dir', 'start', 'class'];

/** A table's short lines are filled up to the width of its head, so a small text can become a hundred thousand cells. UTF-16 units. */
const HTML_MAX = 400_000;

/** An entry's text as HTML that can do nothing: a second lock behind the renderer's own. Null for what becomes too much of it. */
export function cleanMarkdown(text: string) {
  const html = renderMarkdown(text);
  if (html.length > HTML_MAX) return null;
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    // So that the page's policy can forbid any other text to become markup.
    RETURN_TRUSTED_TYPE: true,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
    // These hold no addresses; all others are held against the pattern above.
    ADD_URI_SAFE_ATTR: ['dir', 'rel', 'start', 'target'],
  });
}
