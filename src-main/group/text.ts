/** Lengths of what people see of each other, in code points. */
export const NAME_LENGTH_MAX = 64;
export const TITLE_LENGTH_MAX = 200;
export const MESSAGE_LENGTH_MAX = 400;

/** Controls, line and paragraph separators, and marks that turn the direction or can't be seen: they could fake what a terminal shows. */
const UNSHOWN = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/g;

/** One line of text from elsewhere, fit to be shown: no controls, no runs of space, at most `lengthMax` code points. */
export function oneLine(text: string, lengthMax: number): string {
  const clean = text.toWellFormed().replace(UNSHOWN, ' ').replace(/\s+/g, ' ').trim();
  const letters = Array.from(clean);
  return letters.length <= lengthMax ? clean : letters.slice(0, lengthMax).join('').trim();
}
