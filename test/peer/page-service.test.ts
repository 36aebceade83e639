import { expect, test } from 'vitest';
import { forPages } from '../../src-main/peer/page-service.ts';
import { FakeService } from '../ipc/fake-service.ts';

test('a page reads and writes, and gets no file of this machine made', async () => {
  const service = new FakeService();
  const page = forPages(service);
  const { signal } = new AbortController();
  expect(await page.groups({}, signal)).toHaveLength(1);
  expect(() => page.backup({ path: '/tmp/x' }, signal)).toThrow(/with the command/);
  expect(() => page.carried({}, signal)).toThrow(/with the command/);
  expect(() => page.carry({ group: 'g', runs: ['AQID'] }, signal)).toThrow(/with the command/);
  expect(service.calls.map(({ method }) => method)).toEqual([]);
});
