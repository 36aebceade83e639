import type { GroupName, PeerService } from '../../shared/ipc/contract.ts';

const LINES: readonly (readonly [writer: string, text: string])[] = [
  ['Ana', 'Took over the watch. Wind **SW 4**, visibility good.'],
  ['Ben', 'Position checked by two bearings: *0.3 nm* south of the plan. Holding course.'],
  ['Ana', 'Fishing vessel ahead, crossing from starboard. We give way.'],
  ['Ana', 'Clear of the fishing vessel; back on course 245°.'],
  ['Cy', 'Engine room: oil pressure back to normal after the filter was changed.'],
  ['Ben', 'Barometer:\n\n| time | hPa |\n|---|---|\n| 20:00 | 1012 |\n| 22:00 | 1009 |'],
  ['Cy', 'Bilge pump 2 ran for 4 minutes. Looked at it, nothing unusual.'],
  ['Ben', 'Rain. Radar on the **6 mile** range.'],
  ['Ana', 'To do before the watch ends:\n\n- lights\n- log the fuel\n- wake Cy at 23:45'],
  ['Cy', 'Took over from Ana. Nothing to hand over but the coffee.'],
];

/** A log to look around in, on this machine alone. Its group is told at once, and it fills before one's eyes. */
export async function makeDemo(service: PeerService, made: (group: GroupName) => void): Promise<void> {
  const { signal } = new AbortController();
  const { group, title } = await service.create({ title: 'Demo · Bridge watch' }, signal);
  made({ group, title });
  for (const [writer, text] of LINES) {
    await service.append({ group, writer, text, wait: 'committed', timeoutMs: 5_000 }, signal);
  }
}
