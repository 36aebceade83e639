/** Longer entries show their beginning first. UTF-16 units. */
export const SHOWN_MAX = 20_000;

/** The beginning of a text, at a line's or a word's end where one is near, and never half a character. */
export function shorten(text: string): string {
  if (text.length <= SHOWN_MAX) return text;
  const head = text.slice(0, SHOWN_MAX);
  const end = Math.max(head.lastIndexOf('\n'), head.lastIndexOf(' '));
  if (end > SHOWN_MAX * 0.9) return head.slice(0, end);
  const last = head.charCodeAt(head.length - 1);
  return last >= 0xd800 && last < 0xdc00 ? head.slice(0, -1) : head;
}

/** Long text in pieces: one element with a million letters in a row would hold up the layout of the page. */
export function pieces(text: string, size = 2_000): string[] {
  const out: string[] = [];
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + size, text.length);
    const last = text.charCodeAt(end - 1);
    if (end < text.length && last >= 0xd800 && last < 0xdc00) end -= 1;
    out.push(text.slice(at, end));
    at = end;
  }
  return out;
}
