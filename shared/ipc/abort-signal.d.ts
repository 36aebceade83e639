// The one platform type that the contract speaks of: every platform that runs a peer or a client has it, and brings its
// own full declaration. Inside this folder only what is used here is known.

interface AbortSignal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}
