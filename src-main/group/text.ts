/** Longest reason or message that one side shows of the other. UTF-8 bytes. */
export const MESSAGE_BYTES_MAX = 500;

/** Controls, line and paragraph separators, and marks that turn the direction or can't be seen: they could fake what a terminal shows. */
const UNSHOWN = /[\p{Cc}\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/gu;

/** One line of text from elsewhere, fit to be shown: no controls, no runs of space, at most `bytesMax` of UTF-8, cut between letters. */
export function oneLine(text: string, bytesMax: number): string {
  const clean = text.toWellFormed().replace(UNSHOWN, ' ').replace(/\s+/g, ' ').trim();
  if (Buffer.byteLength(clean) <= bytesMax) return clean;
  let cut = '';
  let size = 0;
  for (const letter of clean) {
    size += Buffer.byteLength(letter);
    if (size > bytesMax) break;
    cut += letter;
  }
  return cut.trim();
}
