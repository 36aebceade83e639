/** 10876 as "10 876", with a thin space that does not break. */
export function thin(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** "1 entry", "3 entries". */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${thin(count)} ${count === 1 ? one : many}`;
}

const names = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];

/** Small numbers as people say them. */
export function spelled(count: number): string {
  return names[count] ?? thin(count);
}
