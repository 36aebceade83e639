import type { Connection, Stream } from '@libp2p/interface';
import { comparePeers, type PeerId } from '../../shared/base/ids.ts';
import { AddressBook } from './address-book.ts';
import type { LocalAddress } from './address-rank.ts';
import { isLoopback } from './addresses.ts';
import { backoffMs } from './backoff.ts';
import { Channel, type ChannelHost, type CloseReason } from './channel.ts';
import type { DialResult } from './dial.ts';
import { Inbox } from './inbox.ts';
import type { NetworkEvents, NetworkProblem, Purpose } from './network.ts';

/** The larger peer id dials this much later, so that mostly only one of two dials. Milliseconds. */
const YIELD_MS = 400;
/** How long a living connection has to answer before a new one takes its place. Milliseconds. */
const PROBE_MS = 1_500;
/** How long one's own request may go unanswered before the other side's is taken. Milliseconds. */
const OWN_REQUEST_MS = 2_000;
/** A connection that lasted this long was sound: the next dial starts without backoff. Milliseconds. */
const SOUND_MS = 10_000;
/** A whole round over a member's addresses. Milliseconds. */
const DIAL_ROUND_MS = 15_000;

export interface LinkInit {
  readonly self: PeerId;
  readonly peer: PeerId;
  readonly events: NetworkEvents;
  dial(addresses: readonly string[], signal: AbortSignal): Promise<DialResult>;
  announce(connection: Connection): readonly string[];
  localAddresses(): readonly LocalAddress[];
  now(): number;
  random(): number;
  log(message: string): void;
}

/**
 * The way to one member: dials it for as long as it is a member, and settles with it on one connection out of several. The side
 * that is asked decides; a living connection stays, and of two requests that cross the smaller peer id's is taken.
 */
export class Link {
  readonly peer: PeerId;
  readonly book = new AddressBook();
  readonly #init: LinkInit;
  readonly #host: ChannelHost;
  /** The connection in use, or agreed on. */
  #active: Channel | null = null;
  /** The one that this side asked for and that is not answered yet. */
  #asking: Channel | null = null;
  /** The one that the other side asked for, while it is not clear whether `active` or `asking` stays. */
  #held: Channel | null = null;
  #dial: AbortController | null = null;
  #redialTimer: NodeJS.Timeout | null = null;
  #redialAtMs = 0;
  #failures = 0;
  #shunnedUntilMs = 0;
  #lastSeenMs: number | null = null;
  /** The channel that the last `onConnection(true)` was about. */
  #toldOf: Channel | null = null;
  #toldAtMs = 0;
  #stopped = false;

  constructor(init: LinkInit) {
    this.#init = init;
    this.peer = init.peer;
    this.#host = {
      inboxes: { consensus: this.#inbox('consensus'), session: this.#inbox('session'), bulk: this.#inbox('bulk') },
      now: init.now,
      announce: init.announce,
      onAsked: (channel) => this.#onAsked(channel),
      onAccepted: (channel) => this.#onAccepted(channel),
      onReady: () => this.#onReady(),
      onClosed: (channel, reason, message) => {
        init.log(`${channel.outbound ? 'dialled' : 'inbound'} connection ended: ${message}`);
        this.#onClosed(channel, reason);
      },
      onAddresses: (channel, addresses) => this.#onAnnounced(channel, addresses),
      onHeard: () => {
        this.#lastSeenMs = Date.now();
      },
      onProblem: (code, message) => this.#problem(code, message),
    };
  }

  /** The connection that frames go over, if any. */
  get channel(): Channel | null {
    return this.#active?.isReady ? this.#active : null;
  }

  /** Milliseconds since 1970. */
  get lastSeenMs(): number | null {
    return this.#lastSeenMs;
  }

  /** It sent what it must not: not let in again for a while. */
  get isShunned(): boolean {
    return this.#init.now() < this.#shunnedUntilMs;
  }

  /** New addresses are dialled at once, known ones when their turn comes. */
  addAddresses(addresses: readonly string[]): readonly string[] {
    const fresh = this.book.add(addresses);
    if (fresh.length > 0) this.hurry();
    return fresh;
  }

  /** There is reason to hope: forgets the backoff. */
  hurry(): void {
    this.#failures = 0;
    this.#redial(this.#firstDelayMs());
  }

  /** The member was just seen alive: don't wait out a long backoff. */
  nudge(): void {
    if (this.#redialTimer !== null && this.#redialAtMs - this.#init.now() > 1_000) this.#redial(this.#firstDelayMs());
  }

  /** The dialer opened its pulse on `connection`. */
  onPulse(connection: Connection, stream: Stream): void {
    const channel = this.#channelOf(connection) ?? new Channel(connection, false, this.#host);
    channel.attachPulse(stream);
  }

  onData(connection: Connection, purpose: Purpose, stream: Stream): void {
    const channel = this.#channelOf(connection);
    if (channel) channel.attachData(purpose, stream);
    else stream.abort(new Error('this connection is not in use'));
  }

  tick(): void {
    this.#active?.tick();
  }

  forgive(): void {
    this.#active?.forgive();
  }

  /** `cut`: at once. `closed`: what was sent still leaves. Resolves when the connections are gone. */
  async stop(reason: 'cut' | 'closed'): Promise<void> {
    this.#stopped = true;
    this.#cancelDial();
    this.#clearRedial();
    const channels = [this.#held, this.#asking, this.#active].filter((channel) => channel !== null);
    for (const channel of channels) channel.close(reason, 'the link was stopped');
    await Promise.all(channels.map((channel) => channel.ended));
  }

  #inbox(purpose: Purpose): Inbox {
    const { events, peer } = this.#init;
    return new Inbox(
      (frame) => events.onFrame(peer, purpose, frame),
      (error) => this.#problem('HANDLER_FAILED', `on a ${purpose} frame: ${String(error)}`),
    );
  }

  #channelOf(connection: Connection): Channel | null {
    return [this.#active, this.#asking, this.#held].find((channel) => channel?.connection === connection) ?? null;
  }

  // --- settling on one connection

  #onAsked(channel: Channel): void {
    if (this.#stopped) return channel.close('cut', 'no longer a member');
    this.#hold(channel);
    if (this.#active !== null) void this.#holdWhileAlive(channel, this.#active);
    else if (this.#asking !== null && comparePeers(this.#init.self, this.peer) < 0) this.#holdWhileAsking(channel);
    else this.#take(channel);
  }

  #hold(channel: Channel): void {
    const older = this.#held;
    this.#held = channel;
    older?.reject();
  }

  /** The other side asks although there is a connection: it may have restarted, or have noticed a break first. */
  async #holdWhileAlive(channel: Channel, active: Channel): Promise<void> {
    const alive = await active.probe(PROBE_MS);
    if (this.#held !== channel) return;
    if (alive && this.#active === active) {
      this.#held = null;
      channel.reject();
    } else this.#take(channel);
  }

  #holdWhileAsking(channel: Channel): void {
    const timer = setTimeout(() => {
      if (this.#held === channel && this.#active === null) this.#take(channel);
    }, OWN_REQUEST_MS);
    timer.unref();
  }

  #take(channel: Channel): void {
    const asking = this.#asking;
    const active = this.#active;
    this.#held = null;
    this.#asking = null;
    this.#active = channel; // before the others close, or their end would start a dial
    this.#cancelDial();
    this.#clearRedial();
    asking?.close('closed', 'the other side asked too');
    active?.close('closed', 'a newer connection took its place');
    channel.accept();
  }

  #onAccepted(channel: Channel): void {
    if (this.#asking !== channel) return channel.close('closed', 'no longer asked for');
    this.#asking = null;
    this.#active = channel;
    const held = this.#held;
    this.#held = null;
    held?.reject();
  }

  #onReady(): void {
    this.#tellConnected(true);
  }

  #onClosed(channel: Channel, reason: CloseReason): void {
    if (reason === 'misbehaved') {
      this.#shunnedUntilMs = this.#init.now() + backoffMs(this.#failures, this.#init.random());
    }
    const wasTold = this.#toldOf === channel;
    if (this.#active === channel) this.#active = null;
    if (this.#asking === channel) this.#asking = null;
    if (this.#held === channel) this.#held = null;
    if (wasTold) {
      this.#failures = this.#init.now() - this.#toldAtMs >= SOUND_MS ? 0 : this.#failures + 1;
      this.#tellConnected(false);
    } else if (channel.outbound) this.#failures++;
    this.#afterLoss();
  }

  #afterLoss(): void {
    if (this.#stopped || this.#active !== null || this.#asking !== null) return;
    if (this.#held !== null) this.#take(this.#held);
    else if (this.#dial === null && this.#redialTimer === null) this.#redial(this.#delayMs());
  }

  /** Alternates: of the active channel only, and once each. */
  #tellConnected(connected: boolean): void {
    this.#toldOf = connected ? this.#active : null;
    this.#toldAtMs = this.#init.now();
    try {
      this.#init.events.onConnection(this.peer, connected);
    } catch (error) {
      this.#problem('HANDLER_FAILED', `on a connection: ${String(error)}`);
    }
  }

  // --- dialling

  #firstDelayMs(): number {
    return comparePeers(this.#init.self, this.peer) < 0 ? 0 : YIELD_MS;
  }

  #delayMs(): number {
    return this.#firstDelayMs() + backoffMs(this.#failures, this.#init.random());
  }

  #redial(delayMs: number): void {
    this.#clearRedial();
    if (this.#stopped || this.#active !== null || this.#asking !== null || this.#held !== null) return;
    if (this.#dial !== null || this.book.isEmpty) return;
    this.#redialAtMs = this.#init.now() + delayMs;
    this.#redialTimer = setTimeout(() => {
      this.#redialTimer = null;
      void this.#dialNow();
    }, delayMs);
    this.#redialTimer.unref();
  }

  #clearRedial(): void {
    if (this.#redialTimer !== null) clearTimeout(this.#redialTimer);
    this.#redialTimer = null;
  }

  #cancelDial(): void {
    this.#dial?.abort();
    this.#dial = null;
  }

  async #dialNow(): Promise<void> {
    const dial = new AbortController();
    this.#dial = dial;
    const signal = AbortSignal.any([dial.signal, AbortSignal.timeout(DIAL_ROUND_MS)]);
    const result = await this.#init.dial(this.book.candidates(this.#init.localAddresses()), signal);
    if (this.#dial !== dial) {
      if (result.ok) result.connection.abort(new Error('no longer needed'));
      return;
    }
    this.#dial = null;
    if (result.ok) this.#ask(result.connection, result.address);
    else this.#onDialFailed(result);
  }

  #ask(connection: Connection, address: string): void {
    this.book.worked(address);
    this.#tellAddresses([address]);
    const channel = new Channel(connection, true, this.#host);
    this.#asking = channel;
    channel.ask();
  }

  #onDialFailed(result: DialResult & { ok: false }): void {
    this.#failures++;
    // Once per doubling: a machine that is switched off is no news every half minute.
    if ((this.#failures & (this.#failures - 1)) === 0) {
      const tried = result.attempts.map(({ address, message }) => `${address}: ${message}`).join('; ');
      this.#problem('DIAL_FAILED', `${this.#failures} in a row. ${tried || 'no answer in time'}`);
    }
    this.#redial(this.#delayMs());
  }

  // --- telling

  #onAnnounced(channel: Channel, addresses: readonly string[]): void {
    // A loopback address means the other machine itself, unless both are one.
    const near = isLoopback(channel.connection.remoteAddr.toString());
    const usable = near ? addresses : addresses.filter((address) => !isLoopback(address));
    const fresh = this.book.add(usable);
    if (fresh.length > 0) this.#tellAddresses(fresh);
  }

  #tellAddresses(addresses: readonly string[]): void {
    try {
      this.#init.events.onAddresses(this.peer, addresses);
    } catch (error) {
      this.#problem('HANDLER_FAILED', `on addresses: ${String(error)}`);
    }
  }

  #problem(code: NetworkProblem['code'], message: string): void {
    try {
      this.#init.events.onProblem({ code, peer: this.peer, message });
    } catch {
      // The one that logs problems has a problem: there is nobody left to tell.
    }
  }
}
