import { ensureChromium } from './chromium.ts';
import { chooseShells } from './shells-choice.ts';

/** Once, before the browser tests: a machine without a browser is an error that says so, not a test that is passed over. */
export default function setup(): void {
  console.log(`Browser tests run in ${ensureChromium()}`);
  console.log(chooseShells().note);
}
