import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { concat, toHex, uint32, utf8 } from '../../shared/base/bytes.ts';
import { encodeCbor } from '../../shared/base/cbor.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import { keyFromPeer } from '../../shared/base/ids.ts';
import { encodeIdentity, identityFromSeed, loadOrCreateIdentity } from '../../src-main/group/identity.ts';
import { createVerifier } from '../../src-main/group/verifier.ts';
import { seeded, someGroup, temporaryDir } from './made-up.ts';

const withCheck = (body: Uint8Array) => concat(body, uint32(crc32c(body)));

describe('the identity', () => {
  test('is made once and read ever after', async () => {
    const dir = join(temporaryDir(), 'deep', 'er');
    const first = await loadOrCreateIdentity(dir);
    const second = await loadOrCreateIdentity(dir);
    expect(second.peer).toBe(first.peer);
    expect(second.seed).toEqual(first.seed);
    expect(first.peer).toMatch(/^12D3KooW/);
    expect(readdirSync(dir)).toEqual(['identity']);
  });

  test('differs between directories', async () => {
    const a = await loadOrCreateIdentity(temporaryDir());
    const b = await loadOrCreateIdentity(temporaryDir());
    expect(a.peer).not.toBe(b.peer);
  });

  test.skipIf(process.platform === 'win32')('is for this user alone, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      const dir = join(temporaryDir(), 'data');
      await loadOrCreateIdentity(dir);
      expect(statSync(join(dir, 'identity')).mode & 0o777).toBe(0o600);
      expect(statSync(dir).mode & 0o777).toBe(0o700);
      chmodSync(join(dir, 'identity'), 0o644);
      await loadOrCreateIdentity(dir);
      expect(statSync(join(dir, 'identity')).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  test('signs what its peer id verifies, as RFC 8032 has it', () => {
    // RFC 8032, section 7.1, test 2
    const seed = Uint8Array.from(
      Buffer.from('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', 'hex'),
    );
    const { signer, peer } = identityFromSeed(seed);
    expect(toHex(signer.publicKey)).toBe('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c');
    expect(toHex(signer.sign(Uint8Array.of(0x72)))).toBe(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    );
    const bytes = utf8('hello');
    expect(createVerifier().verify({ publicKey: keyFromPeer(peer), bytes, signature: signer.sign(bytes) })).toBe(true);
  });

  test('with any bit flipped or any end cut off is damaged, and left as it is', async () => {
    const dir = temporaryDir();
    const path = join(dir, 'identity');
    const good = encodeIdentity(seeded(1)(32));
    for (let at = 0; at < good.length; at++) {
      const flipped = good.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      for (const bad of [flipped, good.subarray(0, at)]) {
        writeFileSync(path, bad);
        await expect(loadOrCreateIdentity(dir)).rejects.toMatchObject({ name: 'SetupError', code: 'IDENTITY_DAMAGED' });
        expect(new Uint8Array(readFileSync(path))).toEqual(new Uint8Array(bad));
      }
    }
    writeFileSync(path, new Uint8Array(5000));
    await expect(loadOrCreateIdentity(dir)).rejects.toMatchObject({ code: 'IDENTITY_DAMAGED' });
  });

  test('whose check is right and whose content is wrong is damaged', async () => {
    const dir = temporaryDir();
    for (const fields of [
      [],
      [1],
      [1, 'seed'],
      [1, new Uint8Array(31)],
      [1, new Uint8Array(32), 0],
      [0, new Uint8Array(32)],
    ]) {
      writeFileSync(join(dir, 'identity'), withCheck(encodeCbor(fields)));
      await expect(loadOrCreateIdentity(dir)).rejects.toMatchObject({ code: 'IDENTITY_DAMAGED' });
    }
  });

  test('of a newer version says so and is left as it is', async () => {
    const dir = temporaryDir();
    const newer = withCheck(encodeCbor([2, 'key in the keychain']));
    writeFileSync(join(dir, 'identity'), newer);
    await expect(loadOrCreateIdentity(dir)).rejects.toMatchObject({ code: 'IDENTITY_NEWER' });
    expect(new Uint8Array(readFileSync(join(dir, 'identity')))).toEqual(newer);
  });

  test('that is missing beside groups is never made anew', async () => {
    const dir = temporaryDir();
    mkdirSync(join(dir, 'groups', someGroup(1)), { recursive: true });
    await expect(loadOrCreateIdentity(dir)).rejects.toMatchObject({ code: 'IDENTITY_MISSING' });
    expect(readdirSync(dir)).toEqual(['groups']);
  });

  test('is not mistaken for a leftover of an interrupted write', async () => {
    const dir = temporaryDir();
    writeFileSync(join(dir, 'identity.tmp'), 'half', { mode: 0o644 });
    const made = await loadOrCreateIdentity(dir);
    expect(readdirSync(dir)).toEqual(['identity']);
    expect((await loadOrCreateIdentity(dir)).peer).toBe(made.peer);
  });

  test('that is a directory, or lies under a file, is named', async () => {
    const dir = temporaryDir();
    writeFileSync(join(dir, 'file'), '');
    await expect(loadOrCreateIdentity(join(dir, 'file'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
    mkdirSync(join(dir, 'identity'));
    await expect(loadOrCreateIdentity(dir)).rejects.toMatchObject({ name: 'SetupError', code: 'DISK_FAILED' });
  });
});
