import type { Connection, Stream } from '@libp2p/interface';
import { comparePeers, type PeerId } from '../../shared/base/ids.ts';
import type { LocalAddress } from './address-rank.ts';
import { isLoopback } from './addresses.ts';
import { Channel, type ChannelHost, type CloseReason } from './channel.ts';
import type { DialAttempt, DialResult } from './dial.ts';
import { Inbox } from './inbox.ts';
import type { NetworkEvents, NetworkProblem, Purpose } from './network.ts';
import { Redial } from './redial.ts';

/** The larger peer id dials this much later, so that mostly only one of two dials. Milliseconds. */
const YIELD_MS = 400;
/** How long a living connection has to answer before a new one takes its place. Milliseconds. */
const PROBE_MS = 1_500;
/** How long one's own request may go unanswered before the other side's is taken. Milliseconds. */
const OWN_REQUEST_MS = 2_000;
/** A connection that lasted this long was sound: the next dial starts without backoff. Milliseconds. */
const SOUND_MS = 10_000;

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
  readonly #init: LinkInit;
  readonly #host: ChannelHost;
  readonly #redial: Redial;
  /** The connection in use, or agreed on. */
  #active: Channel | null = null;
  /** The one that this side asked for and that is not answered yet. */
  #asking: Channel | null = null;
  /** The one that the other side asked for, while it is not clear whether `active` or `asking` stays. */
  #held: Channel | null = null;
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
    this.#redial = new Redial({
      yieldMs: comparePeers(init.self, init.peer) < 0 ? 0 : YIELD_MS,
      isWanted: () => !this.#stopped && this.#active === null && this.#asking === null && this.#held === null,
      dial: init.dial,
      localAddresses: init.localAddresses,
      onDialled: (connection, address) => this.#ask(connection, address),
      onFailed: (failures, attempts) => this.#onDialFailed(failures, attempts),
      now: init.now,
      random: init.random,
    });
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

  /** New addresses are dialled at once, known ones when their turn comes. Returns the new ones. */
  addAddresses(addresses: readonly string[]): readonly string[] {
    const fresh = this.#redial.book.add(addresses);
    if (fresh.length > 0) this.#redial.hurry();
    return fresh;
  }

  /** The machine woke up or changed networks. */
  hurry(): void {
    this.#redial.hurry();
  }

  /** The member was just seen on the network. */
  nudge(): void {
    this.#redial.nudge();
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
    this.#redial.cancel();
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
    this.#redial.cancel();
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
      this.#shunnedUntilMs = this.#init.now() + this.#redial.backoffMs;
    }
    const wasTold = this.#toldOf === channel;
    if (this.#active === channel) this.#active = null;
    if (this.#asking === channel) this.#asking = null;
    if (this.#held === channel) this.#held = null;
    if (wasTold) {
      this.#redial.lost(this.#init.now() - this.#toldAtMs >= SOUND_MS);
      this.#tellConnected(false);
    } else if (channel.outbound) this.#redial.lost(false);
    this.#afterLoss();
  }

  #afterLoss(): void {
    if (this.#stopped || this.#active !== null || this.#asking !== null) return;
    if (this.#held !== null) this.#take(this.#held);
    else this.#redial.plan();
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

  #ask(connection: Connection, address: string): void {
    this.#tellAddresses([address]);
    const channel = new Channel(connection, true, this.#host);
    this.#asking = channel;
    channel.ask();
  }

  // --- telling

  #onDialFailed(failures: number, attempts: readonly DialAttempt[]): void {
    // Once per doubling: a machine that is switched off is no news every half minute.
    if ((failures & (failures - 1)) !== 0) return;
    const tried = attempts.map(({ address, message }) => `${address}: ${message}`).join('; ');
    this.#problem('DIAL_FAILED', `${failures} in a row. ${tried || 'no answer in time'}`);
  }

  #onAnnounced(channel: Channel, addresses: readonly string[]): void {
    // A loopback address means the other machine itself, unless both are one.
    const near = isLoopback(channel.connection.remoteAddr.toString());
    const usable = near ? addresses : addresses.filter((address) => !isLoopback(address));
    const fresh = this.#redial.book.add(usable);
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
