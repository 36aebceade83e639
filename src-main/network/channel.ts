import type { Connection, Stream } from '@libp2p/interface';
import { encodeFrame } from './framing.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Inbox } from './inbox.ts';
import { FRAME_BYTES_MAX, type NetworkProblem, type Purpose } from './network.ts';
import { DATA_PROTOCOLS, PULSE_PROTOCOL } from './protocols.ts';
import { decodePulse, encodePulse, type PacedPurpose, PULSE_BYTES_MAX, type Pulse } from './pulse.ts';
import { Receipts } from './receipts.ts';
import { isPaced, PURPOSES, SendQueue } from './send-queue.ts';
import { readFrames, streamSource } from './stream-frames.ts';

/** From the connection's end to its last stream's opening. Milliseconds. */
const HANDSHAKE_MS = 10_000;
/** For what was sent to leave at the end. Milliseconds. */
const HANG_UP_MS = 2_000;

/** Why a channel ended. */
export type CloseReason = 'closed' | 'cut' | 'silent' | 'misbehaved';

/** What a channel needs of the link that it belongs to. */
export interface ChannelHost {
  readonly inboxes: Readonly<Record<Purpose, Inbox>>;
  /** Monotonic, milliseconds. */
  now(): number;
  /** Where this peer listens, as far as the other end of that connection could use it. */
  announce(connection: Connection): readonly string[];
  /** The dialer asks; `accept` or `reject` answers. */
  onAsked(channel: Channel): void;
  onAccepted(channel: Channel): void;
  onReady(channel: Channel): void;
  onClosed(channel: Channel, reason: CloseReason, message: string): void;
  onAddresses(channel: Channel, addresses: readonly string[]): void;
  onHeard(): void;
  onProblem(code: NetworkProblem['code'], message: string): void;
}

/**
 * One connection to a member and its four streams: the pulse, and one per purpose. The dialer opens all of them, the pulse first,
 * so that its frames go out first when the line is full; each is used both ways. The loss of one is the loss of all.
 */
export class Channel {
  readonly connection: Connection;
  readonly outbound: boolean;
  readonly #host: ChannelHost;
  readonly #heartbeat: Heartbeat;
  readonly #receipts: Receipts;
  #state: 'opening' | 'accepted' | 'ready' | 'closed' = 'opening';
  #pulse: Stream | null = null;
  readonly #streams = new Map<Purpose, Stream>();
  #queue: SendQueue | null = null;
  readonly #handshakeTimer: NodeJS.Timeout;
  #readyMs = 0;
  #ended: Promise<void> = Promise.resolve();

  constructor(connection: Connection, outbound: boolean, host: ChannelHost) {
    this.connection = connection;
    this.outbound = outbound;
    this.#host = host;
    this.#heartbeat = new Heartbeat({
      now: () => host.now(),
      sendPing: (nonce) => this.#tell({ type: 'ping', nonce }),
    });
    this.#receipts = new Receipts((purpose, bytes) => this.#tell({ type: 'ack', purpose, bytes }));
    this.#handshakeTimer = setTimeout(() => this.close('closed', 'the handshake took too long'), HANDSHAKE_MS);
    this.#handshakeTimer.unref();
    connection.addEventListener('close', () => this.close('closed', 'the connection closed'));
    if (connection.status !== 'open') queueMicrotask(() => this.close('closed', 'the connection closed'));
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** The last measured round trip, milliseconds. */
  get rttMs(): number | null {
    return this.#heartbeat.rttMs;
  }

  /** For how long it has been ready. Milliseconds. */
  get readyForMs(): number {
    return this.isReady ? this.#host.now() - this.#readyMs : 0;
  }

  /** Dialer: opens the pulse and asks. */
  ask(): void {
    this.#open(PULSE_PROTOCOL, (stream) => {
      this.#attachPulse(stream);
      this.#tell({ type: 'open', addresses: this.#host.announce(this.connection) });
    });
  }

  /** Dialled side: the pulse that the dialer opened. */
  attachPulse(stream: Stream): void {
    if (this.#pulse !== null) this.#misbehaved('FRAME_BAD', 'a second pulse');
    else this.#attachPulse(stream);
  }

  /** Dialled side: one of the streams that the dialer opened once it was accepted. */
  attachData(purpose: Purpose, stream: Stream): void {
    if (this.#state !== 'accepted' || this.outbound || this.#streams.has(purpose)) {
      this.#misbehaved('FRAME_BAD', `a ${purpose} stream out of turn`);
      return;
    }
    this.#attachData(purpose, stream);
    if (this.#streams.size === PURPOSES.length) this.#ready();
  }

  accept(): void {
    if (this.#state !== 'opening') return;
    this.#state = 'accepted';
    this.#tell({ type: 'accept', addresses: this.#host.announce(this.connection) });
  }

  reject(): void {
    this.#tell({ type: 'reject' });
    this.close('closed', 'another connection is in use');
  }

  /** True once anything is heard; false after `ms` of silence or at the channel's end. */
  probe(ms: number): Promise<boolean> {
    return this.isClosed ? Promise.resolve(false) : this.#heartbeat.probe(ms);
  }

  /** Once a second: pings, and judges the silence. */
  tick(): void {
    if (this.#state !== 'ready') return;
    if (this.#heartbeat.isSilent) {
      this.#host.onProblem('PEER_SILENT', `nothing heard for ${Math.round(this.#heartbeat.silenceLimitMs / 1000)} s`);
      this.close('silent', 'the peer is silent');
      return;
    }
    this.#heartbeat.ping();
  }

  /** This process stood still; see Liveness. */
  forgive(): void {
    this.#heartbeat.forgive();
  }

  send(purpose: Purpose, frame: Uint8Array): boolean {
    return this.isReady && (this.#queue?.push(purpose, frame) ?? false);
  }

  flush(): void {
    this.#queue?.flush();
  }

  queuedBytes(purpose?: Purpose): number {
    return (purpose === undefined ? this.#queue?.bytes : this.#queue?.bytesOf(purpose)) ?? 0;
  }

  whenBelow(purpose: Purpose, bytes: number): Promise<boolean> {
    return this.#queue?.whenBelow(purpose, bytes) ?? Promise.resolve(false);
  }

  /** Once closed: resolves when the connection is gone too. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  close(reason: CloseReason, message: string): void {
    if (this.isClosed) return;
    this.#state = 'closed';
    clearTimeout(this.#handshakeTimer);
    this.#receipts.stop();
    for (const purpose of this.#streams.keys()) this.#host.inboxes[purpose].detach();
    this.#queue?.close();
    this.#heartbeat.end();
    // What was said last (a reject) still goes out: abort would overtake it.
    if (reason === 'closed') this.#ended = this.#hangUp();
    else this.connection.abort(new Error(message));
    this.#host.onClosed(this, reason, message);
  }

  /**
   * What was sent still leaves. The pulse ends last, for its end is the end of all; and the other side closes the connection, as
   * a socket that is closed while something still comes in is reset, and a reset discards what the other side has not read yet.
   */
  async #hangUp(): Promise<void> {
    const limit = { signal: AbortSignal.timeout(HANG_UP_MS) };
    try {
      if (this.#pulse?.remoteWriteStatus === 'writable' && this.connection.status === 'open') {
        const gone = new Promise((resolve) => this.connection.addEventListener('close', resolve));
        const late = new Promise((resolve) => limit.signal.addEventListener('abort', resolve));
        await Promise.all([...this.#streams.values()].map((stream) => stream.close(limit)));
        await this.#pulse.close(limit);
        await Promise.race([gone, late]);
      }
      await this.connection.close();
    } catch (error) {
      this.connection.abort(error as Error);
    }
  }

  #open(protocol: string, then: (stream: Stream) => void): void {
    this.connection.newStream(protocol, { signal: AbortSignal.timeout(HANDSHAKE_MS) }).then(
      (stream) => {
        if (this.isClosed) stream.abort(new Error('the connection is not in use'));
        else then(stream);
      },
      (error: Error) => this.close('closed', `${protocol} could not be opened: ${error.message}`),
    );
  }

  #attachPulse(stream: Stream): void {
    this.#pulse = stream;
    readFrames(stream, {
      bodyBytesMax: PULSE_BYTES_MAX,
      onBytes: () => this.#heard(),
      onBody: (body) => this.#onPulse(decodePulse(body)),
      onBad: (error) => this.#misbehaved(error.code, `on the pulse: ${error.message}`),
    });
    this.#closeWith(stream);
  }

  #attachData(purpose: Purpose, stream: Stream): void {
    this.#streams.set(purpose, stream);
    const inbox = this.#host.inboxes[purpose];
    inbox.attach(streamSource(stream));
    readFrames(stream, {
      bodyBytesMax: FRAME_BYTES_MAX,
      onBytes: (bytes) => {
        this.#heard();
        if (isPaced(purpose)) this.#receipts.received(purpose, bytes);
      },
      onBody: (body) => {
        if (!this.isClosed) inbox.push(body);
      },
      onBad: (error) => this.#misbehaved(error.code, `on ${purpose}: ${error.message}`),
    });
    // libp2p sends what it kept in a microtask of its own, planned before this one.
    stream.addEventListener('drain', () => queueMicrotask(() => this.#queue?.drained(purpose)));
    this.#closeWith(stream);
  }

  #closeWith(stream: Stream): void {
    const end = (): void => this.close('closed', 'a stream closed');
    stream.addEventListener('close', end);
    stream.addEventListener('remoteCloseWrite', () => {
      if (stream === this.#pulse) end();
      else setTimeout(end, HANG_UP_MS).unref(); // the other streams may have more to say
    });
    if (stream.status !== 'open' || stream.remoteWriteStatus !== 'writable') queueMicrotask(end);
  }

  #onPulse(pulse: Pulse): void {
    if (this.isClosed) return;
    switch (pulse.type) {
      case 'open':
        if (this.outbound || this.#state !== 'opening') return this.#misbehaved('FRAME_BAD', 'an open out of turn');
        this.#host.onAddresses(this, pulse.addresses);
        return this.#host.onAsked(this);
      case 'accept':
        if (!this.outbound || this.#state !== 'opening') return this.#misbehaved('FRAME_BAD', 'an accept out of turn');
        this.#state = 'accepted';
        this.#host.onAddresses(this, pulse.addresses);
        this.#host.onAccepted(this);
        return this.#openData();
      case 'reject':
        return this.close('closed', 'the other side uses another connection');
      case 'ping':
        return this.#tell({ type: 'pong', nonce: pulse.nonce });
      case 'pong':
        return this.#heartbeat.pong(pulse.nonce);
      case 'ack':
        return this.#onAck(pulse.purpose, pulse.bytes);
    }
  }

  #openData(): void {
    for (const purpose of PURPOSES) {
      this.#open(DATA_PROTOCOLS[purpose], (stream) => {
        this.#attachData(purpose, stream);
        if (this.#streams.size === PURPOSES.length) this.#ready();
      });
    }
  }

  #ready(): void {
    this.#state = 'ready';
    this.#readyMs = this.#host.now();
    clearTimeout(this.#handshakeTimer);
    const stream = (purpose: Purpose): Stream => this.#streams.get(purpose) as Stream;
    this.#queue = new SendQueue({
      sinks: { consensus: stream('consensus'), session: stream('session'), bulk: stream('bulk') },
      now: () => this.#host.now(),
      onFailed: (error) => this.close('closed', error.message),
    });
    this.#heartbeat.ping();
    this.#host.onReady(this);
    for (const purpose of PURPOSES) if (!this.isClosed) this.#host.inboxes[purpose].open();
  }

  #heard(): void {
    this.#heartbeat.heard();
    this.#host.onHeard();
  }

  #onAck(purpose: PacedPurpose, bytes: number): void {
    try {
      this.#queue?.acked(purpose, bytes, this.#heartbeat.rttMinMs);
    } catch (error) {
      this.#misbehaved('FRAME_BAD', (error as Error).message);
    }
  }

  /** The pulse is small and few, so it goes out past the queue; a stream that is closed is noticed by its own event. */
  #tell(pulse: Pulse): void {
    if (this.#pulse?.writeStatus === 'writable') this.#pulse.send(encodeFrame(encodePulse(pulse)));
  }

  #misbehaved(code: NetworkProblem['code'], message: string): void {
    if (this.isClosed) return;
    this.#host.onProblem(code, message);
    this.close('misbehaved', message);
  }
}
