/** What narrow windows show of the three columns. */
export type Panel = 'logs' | 'log' | 'members';

/** Where the person is. The log is in the address, so that a reload comes back to it. */
class RouteState {
  #group = $state<string | null>(fromAddress());
  panel = $state<Panel>('log');

  constructor() {
    window.addEventListener('hashchange', () => {
      // A token that is put into the address is not a place to go to.
      if (!location.hash.startsWith('#token=')) this.#group = fromAddress();
    });
  }

  get group(): string | null {
    return this.#group;
  }

  open(group: string | null): void {
    this.#group = group;
    this.panel = 'log';
    history.replaceState(null, '', group === null ? location.pathname : `#/${encodeURIComponent(group)}`);
  }
}

function fromAddress(): string | null {
  const group = /^#\/(.+)$/.exec(location.hash)?.[1];
  try {
    return group === undefined ? null : decodeURIComponent(group);
  } catch {
    return null;
  }
}

export const route = new RouteState();
