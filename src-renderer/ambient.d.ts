import type { SynodBridge } from './carrier/bridge.ts';

declare global {
  interface Window {
    /** What the preload script offers; missing where the page is shown by a browser. */
    readonly synod?: SynodBridge;
  }

  interface ImportMeta {
    /** Given by Node to the build configuration. */
    readonly dirname: string;
  }
}
