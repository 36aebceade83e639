import { utf8 } from '../base/bytes.ts';
import type { RefusalCode } from './codes.ts';

/** UTF-8 bytes of one entry's text. */
export const TEXT_MAX_BYTES = 1024 * 1024;
/** UTF-8 bytes of a person's or machine's name, of a writer. */
export const NAME_MAX_BYTES = 200;
/** UTF-8 bytes of a log's title. */
export const TITLE_MAX_BYTES = 500;
/** UTF-8 bytes of an entry's key. */
export const KEY_MAX_BYTES = 1024;

export type TextProblem = Extract<RefusalCode, 'TEXT_EMPTY' | 'TEXT_TOO_LONG' | 'TEXT_BAD'>;

/**
 * What the author's peer does to a text before it signs it: CRLF and CR become LF, a lone surrogate becomes U+FFFD
 * (UTF-8 can't carry it). Nothing else is touched: no Unicode normalisation, no trimming.
 */
export function normalizeText(text: string): string {
  const lines = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
  return lines.isWellFormed() ? lines : lines.toWellFormed();
}

/** What apply holds every text against. Null where it is in order. */
export function textProblem(text: string): TextProblem | null {
  if (text === '') return 'TEXT_EMPTY';
  if (utf8Length(text, TEXT_MAX_BYTES) > TEXT_MAX_BYTES) return 'TEXT_TOO_LONG';
  return text.includes('\r') || !text.isWellFormed() ? 'TEXT_BAD' : null;
}

/** Names and titles: one line without control characters. */
export function nameProblem(name: string, maxBytes = NAME_MAX_BYTES): TextProblem | null {
  if (name === '') return 'TEXT_EMPTY';
  if (utf8Length(name, maxBytes) > maxBytes) return 'TEXT_TOO_LONG';
  return hasControl(name) || !name.isWellFormed() ? 'TEXT_BAD' : null;
}

/** Exact only where it matters: a text this short in code units can't be too long in bytes, and one this long must be. */
function utf8Length(text: string, maxBytes: number): number {
  if (text.length > maxBytes) return text.length;
  return text.length * 3 <= maxBytes ? text.length : utf8(text).length;
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit === 0x7f) return true;
  }
  return false;
}
