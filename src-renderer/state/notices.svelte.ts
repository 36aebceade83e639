/** One line that passes by: what was done, or what failed. Screen readers read it out. */
class NoticeState {
  text = $state('');
  tone = $state<'well' | 'wrong'>('well');
  #timer: ReturnType<typeof setTimeout> | undefined;

  say(text: string, tone: 'well' | 'wrong' = 'well'): void {
    this.text = text;
    this.tone = tone;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.clear(), tone === 'well' ? 4_000 : 12_000);
  }

  clear(): void {
    this.text = '';
  }
}

export const notices = new NoticeState();

/** Puts text on the clipboard and says so. */
export async function copyText(text: string, what: string): Promise<void> {
  if ((await copyByPermission(text)) || copyBySelection(text)) notices.say(`${what} copied.`);
  else notices.say('The clipboard is not available here. Select the text and copy it by hand.', 'wrong');
}

async function copyByPermission(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** As a person copies: that needs no permission, which the window of Electron never has. */
function copyBySelection(text: string): boolean {
  const before = document.activeElement;
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'unseen';
  // What lies outside of an open dialog can't be selected in.
  const place = [...document.querySelectorAll('dialog:modal')].at(-1) ?? document.body;
  place.append(field);
  field.focus({ preventScroll: true });
  field.select();
  try {
    return document.execCommand('copy');
  } finally {
    field.remove();
    if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  }
}
