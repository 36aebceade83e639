/** One tick of the driver's clock. Milliseconds. */
export const TICK_MS = 50;
/** Between voters and from the leader: 100 ms. Ticks. */
export const HEARTBEAT_TICKS = 2;
/** Between everybody else: 500 ms. Ticks. */
export const SLOW_HEARTBEAT_TICKS = 10;
/** A peer not heard for 1,500 ms counts as gone (15 heartbeats: 30 % loss does not reach it in a day). Ticks. */
export const SUSPICION_TICKS = 30;
/** A leader whose connection closed, and who is neither back nor heard for 250 ms, counts as gone: its machine said so. Long enough for the first redial. Ticks. */
export const LOST_TICKS = 5;
/** Candidates wait 0 … 500 ms more, at random, so that they rarely collide. Ticks. */
export const BACKOFF_TICKS = 10;
/** What got no answer for 500 ms is sent again; streams are ordered, so this follows broken links only. Ticks. */
export const RESEND_TICKS = 10;
/** A leader whose proposals stand still for 3 s gives up, however well it is connected (a slow or hung disk elsewhere). Ticks. */
export const STALL_TICKS = 60;
/** After giving up for a stall a peer lets the others go first. Ticks. */
export const STALL_REST_TICKS = 60;
/** A fetch that brought nothing for 1 s goes to somebody else. Ticks. */
export const FETCH_TICKS = 20;
/** Who lacks old values fetches them, and is asked again after 10 s. Ticks. */
export const NOT_HELD_TICKS = 200;
/** After so many a peer campaigns although somebody claims to hold more: the phase-1 quorum's floors decide then. */
export const FETCH_FAILURES_MAX = 3;
/** Another follower's longer prefix is no reason to fetch while the leader's word is still on its way. Ticks. */
export const LAG_TICKS = 10;
/** A round this far above any seen is a mistake, not an election: two a second for six days, all missed. */
export const ROUND_LEAP_MAX: number = 2 ** 20;
/** Slots that may be open at once, fixed in the genesis for ever. */
export const ALPHA = 64;
/** Fresh values in flight. */
export const IN_FLIGHT_MAX = 16;
/** A Promise is cut into parts of about so many bytes of values. */
export const PROMISE_PART_BYTES = 1024 * 1024;
/** A heartbeat's note. Bytes. */
export const NOTE_BYTES_MAX = 1024;
