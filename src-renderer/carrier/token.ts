const KEY = 'synod.token';

/**
 * The token that lets this page in: from the address on the first load, from the tab's own storage on a reload. It is taken out of the address bar at once,
 * so that it ends up in no history, bookmark or screenshot.
 */
export function takeToken(): string | null {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token === undefined) return sessionStorage.getItem(KEY);
  sessionStorage.setItem(KEY, token);
  history.replaceState(null, '', location.pathname + location.search);
  return token;
}

/** The peer does not know it: a reload must not try it again. */
export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}
