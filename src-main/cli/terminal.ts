/** How things are shown to people: calm, aligned, in local time, and safe for a terminal whatever others wrote. */

/** Controls, and marks that turn the direction or can't be seen: they could fake what a terminal shows. Not tab or line feed. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
const UNSHOWN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Somebody else's text, harmless: what would steer the terminal becomes a visible mark. */
export function printable(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(UNSHOWN, '\u{fffd}');
}

/** The same on one line. */
export function printableLine(text: string): string {
  return printable(text).replace(/\s*\n\s*/g, ' ');
}

/** Enough of an id to be typed and to be told from the others of its log. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** Enough of a peer's id to be told apart; the first letters are the same in all. */
export function shortPeer(peer: string): string {
  return peer.replace(/^12D3KooW/, '').slice(0, 8);
}

/** With thin spaces between thousands. */
export function grouped(number: number): string {
  return String(number).replace(/\B(?=([0-9]{3})+$)/g, '\u2009');
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Thu 19 Nov 2026`, in this machine's time zone. */
export function localDay(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '';
  return `${DAYS[date.getDay()]} ${date.getDate()} ${MONTHS[date.getMonth()]} ${date.getFullYear()}`;
}

/** `22:04`. */
export function localClock(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '     ';
  return `${String(date.getHours()).padStart(2, '0')}:${String(date.getMinutes()).padStart(2, '0')}`;
}

/** The clock alone for today, with the day otherwise. */
export function localTime(iso: string, now: Date): string {
  const day = localDay(iso);
  return day === localDay(now.toISOString()) ? localClock(iso) : `${localClock(iso)} on ${day}`;
}

/** Columns as wide as their widest cell; those named in `right` are set flush right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, width(cell));
  }
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const space = ' '.repeat((widths[column] ?? 0) - width(cell));
        return right.includes(column) ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd(),
  );
}

/** Letters as people count them; close enough for columns. */
const segmenter = new Intl.Segmenter();
function width(text: string): number {
  let letters = 0;
  for (const _ of segmenter.segment(text)) letters += 1;
  return letters;
}

/** Faint, where the terminal takes it. */
export function dim(text: string, colour: boolean): string {
  return colour ? `\u001b[2m${text}\u001b[22m` : text;
}
