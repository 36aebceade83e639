/** Where a peer tells what happens to it, for a person to read. */
export type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, detail?: object) => void;
