/** Where the person is; tests name other places. */
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const formats = new Map<string, Intl.DateTimeFormat>();

/** Making a format takes far longer than using it. The words around the times are English, so the times are, too. */
function format(name: string, zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${name} ${zone}`;
  let made = formats.get(key);
  if (!made) {
    made = new Intl.DateTimeFormat('en-GB', { timeZone: zone, ...options });
    formats.set(key, made);
  }
  return made;
}

function parts(ms: number, zone: string): Record<string, string> {
  const all = format('day', zone, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
  return Object.fromEntries(all.formatToParts(ms).map(({ type, value }) => [type, value]));
}

/** Two times with the same key are the same day here. */
export function dayKey(time: string, zone = HERE): string {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? '' : format('key', zone, { dateStyle: 'short' }).format(ms);
}

/** "Thu 19 Nov", with the year where it isn't this one. */
export function dayHeading(time: string, nowMs = Date.now(), zone = HERE): string {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return 'Some day';
  const { weekday, day, month, year } = parts(ms, zone);
  const words = `${weekday} ${day} ${month}`;
  return year === parts(nowMs, zone).year ? words : `${words} ${year}`;
}

/** "22:04". */
export function clock(time: string, zone = HERE): string {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return '–';
  return format('clock', zone, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(ms);
}

/** "22:04" today, "Thu 19 Nov, 22:04" on another day. */
export function moment(time: string, nowMs = Date.now(), zone = HERE): string {
  const isToday = dayKey(time, zone) === dayKey(new Date(nowMs).toISOString(), zone);
  return isToday ? clock(time, zone) : `${dayHeading(time, nowMs, zone)}, ${clock(time, zone)}`;
}
