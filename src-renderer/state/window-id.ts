const KEY = 'synod.window';

/**
 * This window's own name, under which the peer keeps its drafts. A page leaves it to itself when it is loaded anew. While it is shown, the name
 * is nowhere else: the browser copies a tab's storage to one that is made from it, and two windows of one name would write over each other.
 */
export function takeWindowId(): string {
  const id = sessionStorage.getItem(KEY) ?? crypto.randomUUID();
  sessionStorage.removeItem(KEY);
  addEventListener('pagehide', () => sessionStorage.setItem(KEY, id));
  addEventListener('pageshow', () => sessionStorage.removeItem(KEY));
  return id;
}
