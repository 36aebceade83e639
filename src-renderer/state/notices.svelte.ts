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
  try {
    await navigator.clipboard.writeText(text);
    notices.say(`${what} copied.`);
  } catch {
    notices.say('The clipboard is not available here. Select the text and copy it by hand.', 'wrong');
  }
}
