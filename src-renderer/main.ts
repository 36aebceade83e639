import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import { chooseWire } from './carrier/choose.ts';
import { focus } from './state/focus.ts';
import { PeerState } from './state/peer.svelte.ts';
import App from './views/App.svelte';
import NoKey from './views/NoKey.svelte';

const target = document.getElementById('app')!;
const open = chooseWire();
if (open === null) {
  mount(NoKey, { target, props: { why: 'none' } });
  // Its address with the token, put into the same tab, is no new page to a browser.
  window.addEventListener('hashchange', () => {
    if (location.hash.startsWith('#token=')) location.reload();
  });
} else {
  focus.start();
  const peer = new PeerState(open);
  mount(App, { target, props: { peer } });
  peer.start();
}
