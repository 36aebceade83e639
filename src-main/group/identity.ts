import { chmod, readFile, stat } from 'node:fs/promises';
import { concat, readUint32, uint32 } from '../../shared/base/bytes.ts';
import { asArray, asBytes, asInteger, type Cbor, decodeCbor, encodeCbor } from '../../shared/base/cbor.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import type { RandomBytes, Signer } from '../../shared/base/crypto.ts';
import { type PeerId, peerFromKey } from '../../shared/base/ids.ts';
import { type DataDir, dataDir, listGroups, makeDirectory } from './data-dir.ts';
import { platformRandom, SEED_BYTES, signerFromSeed } from './keys.ts';
import { FILE_MODE, writePrivateFile } from './private-file.ts';
import { SetupError, setupErrorFor, systemCode } from './setup-error.ts';

/** Who this installation is: one Ed25519 key, for libp2p and for every signed command. */
export interface Identity {
  readonly peer: PeerId;
  /** The private key, 32 bytes. Never leaves this machine. */
  readonly seed: Uint8Array;
  readonly signer: Signer;
}

/** The file: CBOR `[version, seed]`, then the CRC-32C of that. */
const VERSION = 1;
const CHECK_BYTES = 4;
/** Version 1 takes 41; anything much longer is no identity. */
const FILE_BYTES_MAX = 4096;

/**
 * Reads DIR/identity, or makes it where there is none and no group either. Call it while holding the directory's lock (`openLocal`). A file
 * that is there is never written over.
 * @throws SetupError `IDENTITY_DAMAGED`, `IDENTITY_NEWER`, `IDENTITY_MISSING`, or one of the directory's
 */
export async function loadOrCreateIdentity(dir: string, random: RandomBytes = platformRandom): Promise<Identity> {
  const place = dataDir(dir);
  const bytes = await readIdentity(place);
  if (bytes) return identityFromSeed(decodeIdentity(bytes, place.identity));
  const groups = await listGroups(place);
  if (groups.length > 0) {
    throw new SetupError(
      'IDENTITY_MISSING',
      `${place.identity} is gone, but this directory holds ${groups.length === 1 ? 'a group' : `${groups.length} groups`} of the machine that it named. ` +
        'Put the file back from a backup. Without one, start with another --dir and ask to be invited again.',
    );
  }
  const seed = random(SEED_BYTES);
  try {
    await makeDirectory(place.path);
    await writePrivateFile(place.identity, encodeIdentity(seed));
  } catch (error) {
    throw setupErrorFor(place.path, error);
  }
  return identityFromSeed(seed);
}

export function identityFromSeed(seed: Uint8Array): Identity {
  const signer = signerFromSeed(seed);
  return { peer: peerFromKey(signer.publicKey), seed: seed.slice(), signer };
}

export function encodeIdentity(seed: Uint8Array): Uint8Array {
  const body = encodeCbor([VERSION, seed]);
  return concat(body, uint32(crc32c(body)));
}

async function readIdentity(place: DataDir): Promise<Uint8Array | undefined> {
  try {
    const { mode, size } = await stat(place.identity);
    if (size > FILE_BYTES_MAX) throw damaged(place.identity);
    const bytes = await readFile(place.identity);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) await chmod(place.identity, FILE_MODE);
    return new Uint8Array(bytes);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw setupErrorFor(place.identity, error);
  }
}

function decodeIdentity(bytes: Uint8Array, path: string): Uint8Array {
  const body = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES));
  if (body.length === 0 || crc32c(body) !== readUint32(bytes, body.length)) throw damaged(path);
  let fields: readonly Cbor[];
  let version: number;
  try {
    fields = asArray(decodeCbor(body));
    version = asInteger(fields[0], 1);
  } catch (error) {
    throw damaged(path, error);
  }
  if (version > VERSION) {
    throw new SetupError('IDENTITY_NEWER', `${path} was made by a newer Synod. Update this one; nothing was changed.`);
  }
  try {
    return asBytes(asArray(fields, 2)[1], SEED_BYTES);
  } catch (error) {
    throw damaged(path, error);
  }
}

function damaged(path: string, cause?: unknown): SetupError {
  return new SetupError(
    'IDENTITY_DAMAGED',
    `${path} is damaged, and with it the key that says who this machine is. Put the file back from a backup. ` +
      'Without one, start with another --dir and ask to be invited again. Nothing was changed.',
    cause === undefined ? undefined : { cause },
  );
}
