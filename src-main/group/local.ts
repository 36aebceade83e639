import { ClassicLevel } from 'classic-level';
import { concat, equal, readUint32, uint32 } from '../../shared/base/bytes.ts';
import { asArray, asBytes, asInteger, asText, type Cbor, decodeCbor, encodeCbor } from '../../shared/base/cbor.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import {
  type GroupId,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  type PeerId,
  parseGroupId,
  parsePeerId,
} from '../../shared/base/ids.ts';
import { dataDir, makeDirectory } from './data-dir.ts';
import { SetupError, setupErrorFor, systemCode } from './setup-error.ts';
import { isAddress, readAddresses } from './ticket.ts';

/** A group that this machine has asked to join and isn't in yet. */
export interface PendingJoin {
  readonly group: GroupId;
  /** The ticket's text, a secret. */
  readonly ticket: string;
  /** Of the store to be made: asking again with the same one is the same joiner. */
  readonly incarnation: Incarnation;
  readonly startedMs: number;
}

/**
 * This installation's own settings, in DIR/local. All of them are in memory, so reads are immediate; a write resolves once it is stored, and
 * what a person set or a join depends on is synced first. While it is open, no other process can use the directory.
 */
export interface LocalSettings {
  /** Records that failed their check when it was opened, by key; they are left out and overwritten when set anew. */
  readonly damaged: readonly string[];

  /** The name this machine goes by, or null before anybody chose one. */
  name(): string | null;
  setName(name: string): Promise<void>;
  /** The port to listen on again, after the default one was taken. */
  listenPort(): number | null;
  setListenPort(port: number | null): Promise<void>;

  /** Where a member was reached before, the latest first. At most `ADDRESSES_PER_PEER_MAX`. */
  addresses(peer: PeerId): readonly string[];
  /** Puts addresses that worked in front. Not synced: they can be found again. */
  rememberAddresses(peer: PeerId, addresses: readonly string[]): Promise<void>;
  forgetAddresses(peer: PeerId): Promise<void>;

  pendingJoins(): readonly PendingJoin[];
  setPendingJoin(join: PendingJoin): Promise<void>;
  removePendingJoin(group: GroupId): Promise<void>;

  /** Anything else, by a key of the caller's. Undefined where nothing was set. */
  get(key: string): Cbor | undefined;
  /** Synced unless told otherwise; undefined removes it. */
  set(key: string, value: Cbor | undefined, options?: { readonly sync?: boolean }): Promise<void>;

  /** Waits for writes under way and lets go of the directory. Safe to call twice. */
  close(): Promise<void>;
}

export const ADDRESSES_PER_PEER_MAX = 8;
/** Peers that addresses are kept for. Those that were refreshed longest ago go first. */
export const PEERS_MAX = 1024;

/** Every record is CBOR `[version, value]` and its CRC-32C. */
const VERSION = 1;
const CHECK_BYTES = 4;

const NAME = 'name';
const LISTEN_PORT = 'listen-port';
const ADDRESSES = 'addresses/';
const PENDING = 'joining/';
const OTHER = 'other/';

type Database = ClassicLevel<string, Uint8Array>;

/**
 * Opens DIR/local, and holds the directory by it. Call it before anything else there.
 * @throws SetupError `DIR_LOCKED`, `LOCAL_DAMAGED`, `LOCAL_NEWER`, `READ_ONLY`, `NOT_A_DIRECTORY`, `DISK_FULL`, `DISK_FAILED`
 */
export async function openLocal(dir: string): Promise<LocalSettings> {
  const place = dataDir(dir);
  try {
    await makeDirectory(place.local);
  } catch (error) {
    throw setupErrorFor(place.path, error);
  }
  const db: Database = new ClassicLevel(place.local, { keyEncoding: 'utf8', valueEncoding: 'view' });
  try {
    await db.open();
    return await Settings.load(db, place.local);
  } catch (error) {
    await db.close().catch(() => {});
    throw openError(place.path, place.local, error);
  }
}

function openError(dir: string, path: string, error: unknown): SetupError {
  if (error instanceof SetupError) return error;
  const inner = (error as { cause?: unknown }).cause ?? error;
  const options = { cause: error };
  const text = inner instanceof Error ? inner.message : String(inner);
  switch (systemCode(inner)) {
    case 'LEVEL_LOCKED':
      return new SetupError(
        'DIR_LOCKED',
        `Another Synod is running on ${dir}. Talk to that one, stop it first, or choose another directory with --dir.`,
        options,
      );
    case 'LEVEL_CORRUPTION':
      return damagedError(path, options);
    default:
      if (/read-only file system|permission denied/i.test(text)) return setupErrorFor(dir, { code: 'EACCES' });
      if (/no space left/i.test(text)) return setupErrorFor(dir, { code: 'ENOSPC' });
      if (/no such file|missing files|corruption|is a directory/i.test(text)) return damagedError(path, options);
      return setupErrorFor(path, inner);
  }
}

function damagedError(path: string, options: { cause: unknown }): SetupError {
  return new SetupError(
    'LOCAL_DAMAGED',
    `${path} is damaged. It holds this machine's name, addresses and unfinished joins, nothing of the groups: move it away and start again.`,
    options,
  );
}

class Settings implements LocalSettings {
  readonly damaged: readonly string[];
  readonly #db: Database;
  readonly #values: Map<string, Cbor>;
  /** Peers with addresses, refreshed longest ago first. */
  readonly #peers: Map<PeerId, readonly string[]>;
  #writes: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  private constructor(db: Database, values: Map<string, Cbor>, damaged: readonly string[]) {
    this.#db = db;
    this.#values = values;
    this.damaged = damaged;
    this.#peers = readPeers(values);
  }

  static async load(db: Database, path: string): Promise<Settings> {
    const values = new Map<string, Cbor>();
    const damaged: string[] = [];
    for await (const [key, bytes] of db.iterator()) {
      const value = decodeRecord(bytes, path);
      if (value === undefined || !fits(key, value)) damaged.push(key);
      else values.set(key, value);
    }
    return new Settings(db, values, damaged);
  }

  name(): string | null {
    return (this.#values.get(NAME) as string | undefined) ?? null;
  }

  setName(name: string): Promise<void> {
    return this.#put(NAME, name, true);
  }

  listenPort(): number | null {
    return (this.#values.get(LISTEN_PORT) as number | undefined) ?? null;
  }

  setListenPort(port: number | null): Promise<void> {
    return port === null ? this.#put(LISTEN_PORT, undefined, true) : this.#put(LISTEN_PORT, port, true);
  }

  addresses(peer: PeerId): readonly string[] {
    return this.#peers.get(peer) ?? [];
  }

  rememberAddresses(peer: PeerId, addresses: readonly string[]): Promise<void> {
    const before = this.addresses(peer);
    const after = [...new Set([...addresses.filter(isAddress), ...before])].slice(0, ADDRESSES_PER_PEER_MAX);
    if (after.length === 0) return Promise.resolve();
    this.#peers.delete(peer);
    this.#peers.set(peer, after);
    if (equal(encodeCbor(before), encodeCbor(after))) return Promise.resolve();
    const [oldest] = this.#peers.keys();
    if (this.#peers.size > PEERS_MAX && oldest !== undefined) {
      return Promise.all([this.forgetAddresses(oldest), this.#put(ADDRESSES + peer, after, false)]).then(() => {});
    }
    return this.#put(ADDRESSES + peer, after, false);
  }

  forgetAddresses(peer: PeerId): Promise<void> {
    if (!this.#peers.delete(peer)) return Promise.resolve();
    return this.#put(ADDRESSES + peer, undefined, false);
  }

  pendingJoins(): readonly PendingJoin[] {
    return [...this.#values].filter(([key]) => key.startsWith(PENDING)).map(([, value]) => readPendingJoin(value));
  }

  setPendingJoin(join: PendingJoin): Promise<void> {
    const { group, ticket, incarnation, startedMs } = join;
    return this.#put(PENDING + group, [group, ticket, incarnationBytes(incarnation), startedMs], true);
  }

  removePendingJoin(group: GroupId): Promise<void> {
    return this.#put(PENDING + group, undefined, true);
  }

  get(key: string): Cbor | undefined {
    return this.#values.get(OTHER + key);
  }

  set(key: string, value: Cbor | undefined, options: { readonly sync?: boolean } = {}): Promise<void> {
    return this.#put(OTHER + key, value, options.sync ?? true);
  }

  close(): Promise<void> {
    this.#closing ??= this.#writes.catch(() => {}).then(() => this.#db.close());
    return this.#closing;
  }

  /** Visible at once; stored in the order of the calls. */
  #put(key: string, value: Cbor | undefined, sync: boolean): Promise<void> {
    if (this.#closing) return Promise.reject(new Error('the settings are closed'));
    if (value !== undefined && !fits(key, value)) return Promise.reject(new RangeError(`no value for ${key}`));
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    const write = this.#writes
      .catch(() => {})
      .then(() =>
        value === undefined ? this.#db.del(key, { sync }) : this.#db.put(key, encodeRecord(value), { sync }),
      );
    this.#writes = write;
    return write;
  }
}

function encodeRecord(value: Cbor): Uint8Array {
  const body = encodeCbor([VERSION, value]);
  return concat(body, uint32(crc32c(body)));
}

/** Undefined where the record is damaged. */
function decodeRecord(bytes: Uint8Array, path: string): Cbor | undefined {
  const body = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES));
  if (body.length === 0 || crc32c(body) !== readUint32(bytes, body.length)) return undefined;
  let fields: readonly Cbor[];
  try {
    fields = asArray(decodeCbor(body));
    if (asInteger(fields[0], 1) === VERSION) return asArray(fields, 2)[1];
  } catch {
    return undefined;
  }
  throw new SetupError('LOCAL_NEWER', `${path} was written by a newer Synod. Update this one; nothing was changed.`);
}

/** Whether a value has the shape of its key. Unknown keys are kept as they are. */
function fits(key: string, value: Cbor): boolean {
  try {
    if (key === NAME) asText(value);
    else if (key === LISTEN_PORT) asInteger(value, 1, 65_535);
    else if (key.startsWith(PENDING)) readPendingJoin(value);
    else if (key.startsWith(ADDRESSES)) {
      parsePeerId(key.slice(ADDRESSES.length));
      readAddresses(value, ADDRESSES_PER_PEER_MAX);
    }
    return true;
  } catch {
    return false;
  }
}

function readPendingJoin(value: Cbor): PendingJoin {
  const [group, ticket, incarnation, startedMs] = asArray(value, 4);
  return {
    group: parseGroupId(asText(group)),
    ticket: asText(ticket),
    incarnation: incarnationFromBytes(asBytes(incarnation)),
    startedMs: asInteger(startedMs),
  };
}

function readPeers(values: ReadonlyMap<string, Cbor>): Map<PeerId, readonly string[]> {
  const peers = new Map<PeerId, readonly string[]>();
  for (const [key, value] of values) {
    if (!key.startsWith(ADDRESSES)) continue;
    peers.set(parsePeerId(key.slice(ADDRESSES.length)), readAddresses(value, ADDRESSES_PER_PEER_MAX));
  }
  return peers;
}
