export type Theme = 'system' | 'light' | 'dark';

const KEY = 'synod.theme';

/** Light or dark, as this person likes it, or as the system has it. */
class ThemeState {
  #choice = $state<Theme>(stored());

  constructor() {
    this.#apply();
  }

  get choice(): Theme {
    return this.#choice;
  }

  set choice(choice: Theme) {
    this.#choice = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // A page without storage keeps its theme while it is open.
    }
    this.#apply();
  }

  #apply(): void {
    if (this.#choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.#choice;
  }
}

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

export const theme = new ThemeState();
