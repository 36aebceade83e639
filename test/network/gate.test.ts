import type { PeerId as Libp2pPeerId, MultiaddrConnection } from '@libp2p/interface';
import { expect, test } from 'vitest';
import type { PeerId } from '../../shared/base/ids.ts';
import { Gate, type GateRules } from '../../src-main/network/gate.ts';

const MEMBER = 'member' as PeerId;

/** Whether the gate lets a connection in whose owner has just proved to be `peer`. */
function admits(peer: PeerId, rules: Partial<GateRules>): boolean {
  const gate = new Gate({
    isMember: (id) => id === MEMBER,
    isShunned: () => false,
    isDoorOpen: () => false,
    isJoinTarget: () => false,
    onStranger: () => {},
    ...rules,
  });
  const connection = Object.assign(new EventTarget(), { remoteAddr: '/ip4/127.0.0.1/tcp/1', abort: () => {} });
  const deny = gate.gater().denyInboundEncryptedConnection;
  return !deny?.(peer as unknown as Libp2pPeerId, connection as unknown as MultiaddrConnection);
}

test('members come in, strangers do not', () => {
  expect(admits(MEMBER, {})).toBe(true);
  expect(admits('stranger' as PeerId, {})).toBe(false);
});

test('a member that sent rubbish a moment ago stays out until it is forgiven', () => {
  let isShunned = true;
  expect(admits(MEMBER, { isShunned: () => isShunned })).toBe(false);
  isShunned = false;
  expect(admits(MEMBER, { isShunned: () => isShunned })).toBe(true);
});
