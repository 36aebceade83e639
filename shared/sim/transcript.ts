import { utf8 } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import type { Outgoing } from '../replica/replica.ts';
import type { Plan } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

/** What happened, a line each, with the virtual time; and a fingerprint over all of it. */
export class Transcript {
  readonly lines: string[] = [];
  readonly #scheduler: Scheduler;
  readonly #linesMax: number;
  #fingerprint = 0;

  constructor(scheduler: Scheduler, linesMax: number) {
    this.#scheduler = scheduler;
    this.#linesMax = linesMax;
  }

  /** Equal for equal stories. */
  get fingerprint(): string {
    return (this.#fingerprint >>> 0).toString(16);
  }

  note(line: string): void {
    this.#fingerprint = crc32c(utf8(line), this.#fingerprint >>> 0) | 0;
    this.aside(line);
  }

  /** A line that only some runs have. */
  aside(line: string): void {
    this.lines.push(`${this.#scheduler.nowMs.toFixed(1).padStart(9)} ${line}`);
    if (this.lines.length > this.#linesMax) this.lines.shift();
  }

  /** A message left. */
  sent(from: number, type: string, receivers: number): void {
    const { nowMs } = this.#scheduler;
    this.#fingerprint =
      (Math.imul(this.#fingerprint, 31) + type.length + from * 101 + receivers * 7 + nowMs * 1000) | 0;
  }
}

export function describe(plan: Plan): string {
  const faults = [...Object.keys(plan.hard), ...Object.keys(plan.soft)].join(', ');
  const triggers = plan.triggers.map((t) => `${t.kind} at ${t.on}`).join(', ');
  return `${plan.nodes} nodes, α ${plan.alpha}, held back: ${plan.links.held ?? 'nothing'}; ${faults}; ${triggers}`;
}

export function saying(out: Outgoing): string {
  if (out.layer === 'session') return out.message.type;
  const m = out.message;
  switch (m.type) {
    case 'prepare':
      return `prepare ${m.ballot.round} c${m.configuration} from ${m.slot}`;
    case 'promise':
      return `promise ${m.ballot.round} c${m.configuration} floor ${m.floor} [${m.accepted.map((a) => `${a.slot}@${a.ballot.round}`)}]`;
    case 'accept':
      return `accept ${m.slot}@${m.ballot.round} c${m.configuration} ${m.value.kind} w${m.watermark}`;
    case 'accepted':
      return `accepted ${m.slots}@${m.ballot.round}`;
    case 'nack':
      return `nack ${m.ballot.round}, ${m.reason} (${m.promised?.round ?? 0})`;
    case 'behind':
      return `behind ${m.ballot.round} at ${m.slot}: ${m.lacks} lacks, prefix ${m.prefix}`;
    case 'commit':
      return `commit ${m.watermark}@${m.ballot.round}`;
    case 'fetch':
      return `fetch ${m.from}`;
    case 'values':
      return `values ${m.from}–${m.from + m.values.length - 1}`;
    case 'transfer':
      return `transfer ${m.ballot.round}`;
    default:
      return m.type;
  }
}
