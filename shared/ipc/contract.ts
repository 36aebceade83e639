import type { WhyCode } from './errors.ts';
import type {
  AwayParams,
  AwayStatus,
  LeaveParams,
  OpenInvitation,
  Profile,
  ProfileParams,
  QuorumParams,
  QuorumStatus,
  RenameParams,
  RevokeParams,
} from './governing.ts';
import type { Survives } from './survived.ts';

export type * from './governing.ts';

/**
 * What a running peer does for its clients: a command line today, a window later. Everything here is plain JSON, and the
 * field names are an outside contract. Ids are strings as people see them; times are ISO 8601; durations are
 * milliseconds. A failed request rejects with PeerError.
 */

export type Rights = 'reader' | 'writer' | 'keeper';
export type Role = 'voter' | 'learner' | 'witness';
/** How far a request waits: until it is on this disk, or until the group has agreed on its place. */
export type Wait = 'saved' | 'committed';

/** At most this much text in one entry, as UTF-8 after line ends became LF. Bytes. */
export const TEXT_BYTES_MAX = 1024 * 1024;

/** Which group is meant: its id, a unique prefix of it, or its title. May be left out where there is only one. */
export interface InGroup {
  readonly group?: string;
}

/** How long a request waits for the group. At the end it answers with what is so far, or fails with TIMED_OUT. */
export interface WithTimeout {
  readonly timeoutMs: number;
}

// Groups

export interface CreateParams {
  readonly title: string;
}

export interface GroupName {
  readonly group: string;
  readonly title: string;
}

export interface InviteParams extends InGroup, WithTimeout {
  readonly rights: Rights;
  /** Pins the role; null: a learner, until somebody promotes it. */
  readonly role: Role | null;
  /** How long the invitation is good, from now. */
  readonly expiresMs: number;
}

export interface Invitation {
  readonly ticket: string;
}

export interface JoinParams extends WithTimeout {
  readonly ticket: string;
}

/** Named stations on the way into a group. Each can be the last thing known when the time is up. */
export const joinSteps = [
  /** Looking for the inviting machine at the ticket's addresses. */
  'DIALLING',
  /** Nobody answers there: a wrong address, a firewall, or a network that separates devices. */
  'NO_ANSWER',
  /** Somebody answers there, but not the machine that the ticket names. */
  'WRONG_PEER',
  /** The machine is there and lets nobody in: no invitation is open. */
  'DOOR_SHUT',
  /** A keeper's machine let this one in; the group has yet to agree. */
  'WAITING_FOR_GROUP',
] as const;
export type JoinStep = (typeof joinSteps)[number];

/** Any number of steps, then one `joined`, the last. An invitation that was used or expired fails the request by that name. */
export type JoinEvent =
  | {
      readonly kind: 'step';
      readonly step: JoinStep;
      /** One line for people. */
      readonly message: string;
    }
  | { readonly kind: 'joined'; readonly group: string; readonly title: string; readonly role: Role };

// Entries

interface Writing extends InGroup, WithTimeout {
  readonly wait: Wait;
  /** The name of the person at the keyboard; left out: this peer's name. */
  readonly writer?: string;
}

export interface AppendParams extends Writing {
  readonly text: string;
  /** The same key of the same peer is the same entry. With other text it fails with KEY_REUSED. */
  readonly key?: string;
}

/** Names an entry by its id, a unique prefix of it, or its position in digits. */
interface OfEntry {
  readonly entry: string;
}

export interface EditParams extends Writing, OfEntry {
  /** The whole new text, merged against the revision that is current here. */
  readonly text: string;
}

export interface RemoveParams extends Writing, OfEntry {}

export interface RestoreParams extends Writing, OfEntry {
  /** The revision whose text comes back; left out: the newest. */
  readonly revision?: number;
}

/**
 * How far a command has come. It never fails for want of the group: at the timeout it is `saved`, with the reason. A
 * command that the group refused rejects with its refusal's code instead.
 */
export interface Written {
  readonly id: string;
  readonly status: Wait;
  readonly position: number | null;
  /** Where the command was chosen. */
  readonly slot: number | null;
  /** Why it is not committed, for people; null once it is, and where the request did not wait for it. */
  readonly why: string | null;
  readonly whyCode: WhyCode | null;
}

export interface Appended extends Written {
  /** False where the key named an entry that was here already: nothing new was written. */
  readonly created: boolean;
}

export interface WrittenRevision extends Written {
  /** The revision that this command made; the one to expect while it is only saved. */
  readonly revision: number;
}

// Reading

export interface LogParams extends InGroup {
  /** Only entries after this position. Not together with `afterSlot`. */
  readonly since?: number;
  /** Only entries created in later slots than this. */
  readonly afterSlot?: number;
  /** The last so many positions, ascending; with `since` or `afterSlot` the first so many. Pending lines are not counted. */
  readonly limit?: number;
  /** Goes on with new entries, and with old ones again when they change, until cancelled. */
  readonly follow: boolean;
  /** Also what is not agreed yet, below the rest. */
  readonly pending: boolean;
  /** Also what only a window shows of each line: `clock`, `overlap`, `changed`, and of a pending one `change` and `of`. */
  readonly marks?: boolean;
}

interface Line {
  readonly id: string;
  /** The machine that signed it, and its name in the group. */
  readonly author: string;
  readonly name: string;
  /** The person who wrote it, as claimed there. */
  readonly writer: string;
  /** The author's clock, with the author's offset. */
  readonly time: string;
  /** Null where the entry is removed. */
  readonly text: string | null;
  readonly revision: number;
  readonly removed: boolean;
}

/** What a command does to an entry that is there already. */
export type Change = 'edit' | 'remove' | 'restore';

/** Who made a revision, and when by the author's clock. */
export interface Changed {
  readonly change: Change;
  readonly author: string;
  readonly name: string;
  readonly writer: string;
  readonly time: string;
}

/** An entry that has its place. */
export interface PlacedLine extends Line {
  readonly position: number;
  /** Where the entry was created. */
  readonly slot: number;
  /** When it got its place, by the leader's clock, in UTC. */
  readonly placed: string;
  /** With `marks`: the author's clock was more than five minutes ahead or behind. The order never depends on it. */
  readonly clock?: 'ahead' | 'behind' | null;
  /** With `marks`: two people changed the same words; both wordings are in the text. */
  readonly overlap?: boolean;
  /** With `marks`: the newest revision's maker; null where it is the first. */
  readonly changed?: Changed | null;
}

export interface CommittedLine extends PlacedLine {
  readonly status: 'committed';
}

/**
 * An entry of a snapshot that is on its way here, shown before the rest has come. Whether it is what the group agreed on can't be told before that: then it is `committed`,
 * at the same position. It can't be changed until then.
 */
export interface UnverifiedLine extends PlacedLine {
  readonly status: 'unverified';
}

export interface PendingLine extends Line {
  readonly status: 'pending';
  readonly position: null;
  readonly slot: null;
  readonly placed: null;
  readonly why: string;
  readonly whyCode: WhyCode;
  /** With `marks`, and for who watches: what it does. A new entry stays `create`, whatever is done to it before it is agreed. */
  readonly change?: 'create' | Change;
  /** With `marks`, and for who watches: where the entry that it changes stands; null for a new one. */
  readonly of?: number | null;
}

/** What a log shows at a position. */
export type ShownLine = CommittedLine | UnverifiedLine;

export type LogLine = ShownLine | PendingLine;

export interface HistoryParams extends InGroup, OfEntry {}

export interface Revision {
  readonly revision: number;
  /** Null while the revision is not agreed. */
  readonly slot: number | null;
  readonly author: string;
  readonly writer: string;
  readonly time: string;
  readonly text: string | null;
  readonly removed: boolean;
}

export interface BarrierParams extends InGroup, WithTimeout {}

/** A committed prefix that is no older than the moment it was asked for. */
export interface Barrier {
  readonly position: number;
  readonly slot: number;
  readonly digest: string;
}

// How things stand

export interface MemberStatus {
  readonly peer: string;
  readonly name: string;
  readonly role: Role;
  readonly rights: Rights;
  /** True for this peer itself. */
  readonly connected: boolean;
  readonly chosen: number | null;
  readonly rttMs: number | null;
  readonly lastSeen: string | null;
  /** There while it said that it is away: until when, if it said so. */
  readonly away?: { readonly until: string | null };
  /** There while it is no member any more and still votes, until the change of voters is in force. */
  readonly removing?: true;
  /** There while it is heard going on with another log, after a forced recovery. */
  readonly split?: true;
}

/** Who decides, and who will. The leader's view counts; another peer's may be a little older. */
export interface VotingStatus {
  /** There are members whose role nobody gave by hand: they are given votes as the group needs them. */
  readonly policy: boolean;
  /** One or two sentences: what the present number survives, and what one more would add. */
  readonly summary: string;
  /** How many of the voters that are here may go as well, whichever they are: while somebody leads, and where another one has to be chosen. */
  readonly spare: Survives;
  /** Voters that are here and can lead: no witness does. */
  readonly canLead: number;
  readonly next: NextVoters | null;
}

export interface NextVoters {
  /** All who will vote. */
  readonly voters: readonly string[];
  /** One sentence: what changes, and why. */
  readonly why: string;
  /** Null where it is on its way. */
  readonly waitsFor: string | null;
}

export interface GroupStatus {
  readonly group: string;
  readonly title: string;
  readonly role: Role;
  readonly rights: Rights;
  readonly leader: string | null;
  /** Round, peer, incarnation. */
  readonly ballot: readonly [number, string, string];
  readonly chosen: number;
  readonly applied: number;
  readonly positions: number;
  readonly digest: string;
  readonly state: string;
  readonly pending: number;
  readonly canCommit: boolean;
  readonly why: string | null;
  readonly whyCode: WhyCode | null;
  /** `reachable` includes oneself. */
  readonly quorum: {
    readonly phase1: number;
    readonly phase2: number;
    readonly voters: number;
    readonly reachable: number;
  };
  readonly voting: VotingStatus;
  /** Left out where the log never went on by a forced recovery, and no older log lies here. */
  readonly recovered?: RecoveredStatus;
  /** Left out where no damage was mended here, or where all that it took is here again. */
  readonly mending?: MendingStatus;
  /** Left out where no snapshot with further entries is on its way here. */
  readonly preview?: PreviewStatus;
  readonly members: readonly MemberStatus[];
}

/** Part of the disk was damaged; the store was mended in its place, and some of it is still to come. */
export interface MendingStatus {
  /** Entries are still to come: they are made anew, and until then the log is not whole here. Otherwise only values of the log are, behind what is shown. */
  readonly entries: boolean;
  /** Up to which slot the damage reached at most. */
  readonly upTo: number;
  /** Slots whose values are still to be fetched. */
  readonly missing: number;
  /** Members who can be heard and have them. */
  readonly from: readonly string[];
  /** What happened, what is kept, what is missing, and who has to return. In a few sentences for people; the same as `why` where `entries` is true and nothing worse is the matter. */
  readonly text: string;
}

/** A snapshot on its way, of which the newest entries can be read first. Nothing else in the status speaks of it. */
export interface PreviewStatus {
  /** Up to which slot it reaches. */
  readonly slot: number;
  /** Entries there will be. */
  readonly positions: number;
  /** How many of them can be read now, those that are agreed here among them. */
  readonly here: number;
}

/** What is left of forced recoveries, of all of them together. */
export interface RecoveredStatus {
  /** Positions that were agreed after this slot may differ on machines that were given up; null where only an older log lies here. */
  readonly slot: number | null;
  /** Nothing that was agreed was lost by any of them. */
  readonly lossless: boolean | null;
  /** Folders with older logs that others went on without; `log.jsonl` in them is readable. */
  readonly aside: readonly string[];
}

export interface PeerStatus {
  readonly peer: string;
  readonly name: string;
  readonly groups: readonly GroupStatus[];
  /**
   * Groups of this directory that can't be opened, and why; left out where there is none. Who watches is told here, too, of those that are closed to be
   * opened again by themselves: `DISK_FULL`, `BUSY`, `STOPPING`.
   */
  readonly broken?: readonly BrokenGroup[];
}

export interface BrokenGroup {
  readonly group: string;
  readonly code: string;
  /** For people. */
  readonly message: string;
}

// Watching

/** Own lines that are not agreed yet: the newest, and how many there are in all. */
export const PENDING_LINES_MAX = 100;
/** Positions that one event names; more have changed where it names none. */
export const CHANGED_MAX = 500;
/** Refused commands that one event shows: the newest. */
export const REFUSED_MAX = 100;

/** An own command that the group did not take, with its wording. */
export interface RefusedLine {
  /** What `dismiss` takes. */
  readonly key: string;
  readonly whyCode: WhyCode;
  /** One sentence for people. */
  readonly why: string;
  readonly writer: string;
  readonly time: string;
  /** Null where the command had no text. */
  readonly text: string | null;
  readonly change: 'create' | Change | null;
  /** Where the entry that it was to change stands; null for anything else. */
  readonly of: number | null;
}

/**
 * How this peer stands, and then what changes. Each kind comes once at the beginning (all but `status` once for each group), so that who watches
 * has all of it whenever it begins. What changes while nobody asks is told together: at most one of each kind waits.
 */
export type WatchEvent =
  | { readonly kind: 'status'; readonly status: PeerStatus }
  | {
      readonly kind: 'log';
      readonly group: string;
      /** Entries to show; those of a snapshot on its way count, and not all of them may have come. */
      readonly positions: number;
      /** Entries that are new or other than before, ascending; null: more than can be named, so read again what is shown. */
      readonly changed: readonly number[] | null;
    }
  /** `count` is of all lines; where they are too many, of the commands before those that were looked at. */
  | { readonly kind: 'pending'; readonly group: string; readonly count: number; readonly lines: readonly PendingLine[] }
  | { readonly kind: 'refused'; readonly group: string; readonly lines: readonly RefusedLine[] }
  | { readonly kind: 'kept'; readonly group: string; readonly drafts: readonly KeptDraft[] }
  /** The group is no longer open here. */
  | { readonly kind: 'gone'; readonly group: string };

export interface DismissParams extends InGroup {
  readonly key: string;
}

/** A window's own name, at random, which a page keeps when it is loaded anew. */
interface OfWindow {
  readonly window?: string;
}

/** For as long as it watches, a window's drafts are its own. */
export interface WatchParams extends OfWindow {}

/**
 * What somebody was writing. Kept by the peer, so that it outlives the window; on this machine alone. Each window has its own, so that none overwrites what is
 * written in another. Asked for, a window's own is answered, or else becomes its own what a window left that is closed. Without a window, the newest is
 * answered, whosever it is, and stays whose it was.
 */
export interface DraftParams extends InGroup, OfWindow {
  /** What is being written: `new`, or the id of the entry that is edited. */
  readonly about: string;
}

export interface SaveDraftParams extends DraftParams {
  /** Empty: there is none any more. */
  readonly text: string;
}

export interface Draft {
  readonly text: string;
}

/** A draft that stands in no window's field, as far as the peer knows: a window's own edits are told to it too, since only it knows which it shows. */
export interface KeptDraft {
  readonly about: string;
  /** Whose it is or was; null: nobody's. */
  readonly window: string | null;
  readonly text: string;
  /** `gone`: of an entry that can't be edited as it is. */
  readonly kind: 'new' | 'edit' | 'gone';
  /** One sentence for people. */
  readonly why: string;
  /** Where the entry stands that it is about; null for a new one, or where there is none. */
  readonly of: number | null;
}

// Members

export interface MemberParams extends InGroup, WithTimeout {
  /** A peer's id, a prefix of it (also without `12D3KooW`), or its name where that is unique. */
  readonly peer: string;
}

/** Answered once it is in force; TIMED_OUT before. */
export interface MemberRole {
  readonly peer: string;
  /** Null for one that is no longer a member. */
  readonly role: Role | null;
}

// The data directory

export interface BackupParams {
  /** An absolute path on the peer's machine, at which there is nothing yet. */
  readonly path: string;
}

/** Any number of `progress`, then `done`, the last. */
export type BackupEvent =
  | { readonly kind: 'progress'; readonly rows: number; readonly bytes: number }
  | {
      readonly kind: 'done';
      readonly path: string;
      /** Of the file. */
      readonly bytes: number;
      readonly rows: number;
      readonly groups: number;
    };

// The outbox

/** An own command that is not agreed: it waits, or the group did not take it. */
export type OutboxLine =
  | (Pick<PendingLine, 'id' | 'text' | 'time' | 'writer' | 'why' | 'whyCode'> & {
      readonly status: 'pending';
      readonly change: 'create' | Change;
    })
  | (Pick<RefusedLine, 'key' | 'text' | 'time' | 'writer' | 'why' | 'whyCode' | 'change'> & {
      readonly status: 'refused';
    });

/** A signed run, as base64: `append` and the like, by whichever member, as its author's machine signed it. */
export interface CarriedRun {
  readonly group: string;
  readonly run: string;
  readonly commands: number;
}

export interface CarryParams {
  /** The group that the runs are of, by its whole id. */
  readonly group: string;
  /** Base64. At most 4 MiB in all. */
  readonly runs: readonly string[];
}

/** Of commands. */
export interface CarriedCount {
  readonly new: number;
  readonly known: number;
  readonly refused: number;
}

/**
 * One running peer. `signal` ends the wait, never the work: what was saved before stays saved and is committed later.
 * Streams are pulled: nothing may pile up behind a consumer that does not ask, and `return()` frees what a stream holds.
 */
export interface PeerService {
  groups(params: Record<string, never>, signal: AbortSignal): Promise<readonly GroupName[]>;
  create(params: CreateParams, signal: AbortSignal): Promise<GroupName>;
  invite(params: InviteParams, signal: AbortSignal): Promise<Invitation>;
  join(params: JoinParams, signal: AbortSignal): AsyncIterable<JoinEvent>;

  append(params: AppendParams, signal: AbortSignal): Promise<Appended>;
  edit(params: EditParams, signal: AbortSignal): Promise<WrittenRevision>;
  remove(params: RemoveParams, signal: AbortSignal): Promise<WrittenRevision>;
  restore(params: RestoreParams, signal: AbortSignal): Promise<WrittenRevision>;

  log(params: LogParams, signal: AbortSignal): AsyncIterable<LogLine>;
  history(params: HistoryParams, signal: AbortSignal): AsyncIterable<Revision>;
  barrier(params: BarrierParams, signal: AbortSignal): Promise<Barrier>;

  status(params: InGroup, signal: AbortSignal): Promise<PeerStatus>;
  members(params: InGroup, signal: AbortSignal): Promise<readonly MemberStatus[]>;

  watch(params: WatchParams, signal: AbortSignal): AsyncIterable<WatchEvent>;
  dismiss(params: DismissParams, signal: AbortSignal): Promise<Record<string, never>>;
  draft(params: DraftParams, signal: AbortSignal): Promise<Draft>;
  saveDraft(params: SaveDraftParams, signal: AbortSignal): Promise<Record<string, never>>;

  /** Writes a file that this very machine can be made again from, its key included. Not for pages. */
  backup(params: BackupParams, signal: AbortSignal): AsyncIterable<BackupEvent>;

  /** What waits, in its order, and then what was refused. */
  outbox(params: InGroup, signal: AbortSignal): AsyncIterable<OutboxLine>;
  /** Signed commands that are not agreed and that anybody may carry to the group: own ones, and others' that wait here. */
  carried(params: InGroup, signal: AbortSignal): AsyncIterable<CarriedRun>;
  /** Offers such commands to the leader. Their signatures are checked; what is known already does no harm. */
  carry(params: CarryParams, signal: AbortSignal): Promise<CarriedCount>;

  promote(params: MemberParams, signal: AbortSignal): Promise<MemberRole>;
  demote(params: MemberParams, signal: AbortSignal): Promise<MemberRole>;
  expel(params: MemberParams, signal: AbortSignal): Promise<MemberRole>;

  lead(params: MemberParams, signal: AbortSignal): Promise<MemberRole>;
  quorum(params: QuorumParams, signal: AbortSignal): Promise<QuorumStatus>;
  away(params: AwayParams, signal: AbortSignal): Promise<AwayStatus>;
  leave(params: LeaveParams, signal: AbortSignal): Promise<MemberRole>;
  invites(params: InGroup, signal: AbortSignal): Promise<readonly OpenInvitation[]>;
  revoke(params: RevokeParams, signal: AbortSignal): Promise<OpenInvitation>;
  rename(params: RenameParams, signal: AbortSignal): Promise<GroupName>;
  profile(params: ProfileParams, signal: AbortSignal): Promise<Profile>;
}

export type Method = keyof PeerService;
