/** Times for people, written out without the platform's calendar: the same text on every machine. */

const DAY_MS = 86_400_000;

/**
 * ISO 8601 with milliseconds, `2026-11-20T14:01:05.250+01:00`. Offset 0 is written `+00:00`, and as `Z` where `offsetMinutes`
 * is null (a time that belongs to no author).
 */
export function isoTime(timeMs: number, offsetMinutes: number | null): string {
  const local = timeMs + (offsetMinutes ?? 0) * 60_000;
  const day = Math.floor(local / DAY_MS);
  const inDay = local - day * DAY_MS;
  const [year, month, date] = civilDate(day);
  const hours = Math.floor(inDay / 3_600_000);
  const minutes = Math.floor(inDay / 60_000) % 60;
  const seconds = Math.floor(inDay / 1000) % 60;
  const clock = `${two(hours)}:${two(minutes)}:${two(seconds)}.${String(inDay % 1000).padStart(3, '0')}`;
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(date)}T${clock}${zone(offsetMinutes)}`;
}

function zone(offsetMinutes: number | null): string {
  if (offsetMinutes === null) return 'Z';
  const size = Math.abs(offsetMinutes);
  return `${offsetMinutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** The Gregorian date of a day counted from 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms"). */
function civilDate(day: number): readonly [year: number, month: number, date: number] {
  const shifted = day + 719_468; // days from 0000-03-01
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const date = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return [yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, date];
}
