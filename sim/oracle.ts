// Knows what must hold on one branch (ARCHITECTURE.md: prefix, acknowledged means there, one
// writer) and says when it does not.
//
// A reign is one writer's time: it begins with the state that its opening found, and has a history
// of what its clients did. When a writer of a higher epoch opens, the state that it finds must be
// what some cut (history.ts) of its predecessor's history leaves:
//
//   1. prefix        every sector, and every volume's size, allows a common cut; an operation that
//                    the engine promises to be atomic is there whole or not at all
//   2. acknowledged  the cut is not before the last barrier that the predecessor acknowledged
//   3. one writer    from then on the predecessor acknowledges nothing that is behind the cut
//
// The first writer of a branch finds what the branch was created from. A restore ends a reign and
// begins another of the same epoch; while one is under way the successor may find either state.
//
// With a journal (RFC 0004) barriers are acknowledged by it. Whoever takes it up must find all of
// that. When a writer that abandons it has claimed the branch, rule 2 is of what the store has
// acknowledged; the abandoned one may acknowledge with its journal until it meets its successor,
// and what only that journal holds keeps its machine from opening the branch until it is discarded.
//
// Openings can complete in another order than that of their epochs. A writer that completes after
// one of a higher epoch was deposed before it began: it has the state that its successor found, and
// can acknowledge no change.

import { asDurable, asReturned, explain } from './explain.ts';
import type { Cut, Operation } from './history.ts';
import type { Seat } from './seat.ts';
import { type Found, Reign, sameState } from './reign.ts';
import type { World } from './world.ts';

export interface OracleCounters {
  openings: number;
  deposedAtBirth: number;
  operations: number;
  barriers: number;
  restores: number;
  /** Openings that lost what only a journal had acknowledged. */
  abandoned: number;
  /** Barriers that only the journal of a deposed writer holds. */
  keptByJournal: number;
}

/** Who vouches for what was acknowledged. */
export type Keeper = 'store' | 'journal';

/** A moment of a reign: what a follower shows must not be older. */
export interface Seen {
  readonly reign: Reign | undefined;
  readonly from: number;
}

/** Of all branches of a run. */
export class OperationSource {
  #last = 0;
  readonly counters: OracleCounters = {
    openings: 0,
    deposedAtBirth: 0,
    operations: 0,
    barriers: 0,
    restores: 0,
    abandoned: 0,
    keptByJournal: 0,
  };

  next(): number {
    this.counters.operations += 1;
    return ++this.#last;
  }
}

export class Oracle {
  readonly #world: World;
  readonly #source: OperationSource;
  /** Says what is wrong with the state that the first writer finds. */
  readonly #checkFirst: (found: Found) => string | undefined;
  /** By epoch, ascending; of one epoch in the order of its restores. */
  readonly #reigns: Reign[] = [];
  /** Journals of writers with a lower epoch were gone on without. */
  #abandonedBefore = 0;

  constructor(
    world: World,
    source: OperationSource,
    checkFirst: (found: Found) => string | undefined,
  ) {
    this.#world = world;
    this.#source = source;
    this.#checkFirst = checkFirst;
  }

  /** A writer has opened, and a look at the store at this very moment shows `found`. */
  opened(epoch: number, who: string, found: Found, seat: Seat | undefined): Reign {
    const { counters } = this.#source;
    counters.openings += 1;
    const successor = this.#reigns.find((reign) => reign.epoch > epoch);
    if (this.#reigns.some((reign) => reign.epoch === epoch)) {
      this.#world.fail(`two writers have epoch ${epoch}`);
    }
    const before = this.#reigns.findLast((reign) => reign.epoch < epoch);
    const reign = new Reign(epoch, who, successor?.base ?? found);
    reign.machine = seat?.journal.used === true ? seat.machine.name : undefined;
    if (successor === undefined) {
      if (before !== undefined) this.#checkSuccession(before, found, who);
      if (before !== undefined) this.#checkDebts(who, seat);
      else this.#complain(this.#checkFirst(found));
      this.depose();
    } else {
      reign.deposedAt = this.#world.tick();
      counters.deposedAtBirth += 1;
    }
    const at = this.#reigns.findIndex((other) => other.epoch > epoch);
    this.#reigns.splice(at < 0 ? this.#reigns.length : at, 0, reign);
    return reign;
  }

  /** No writer that has opened by now may make anything durable from here on. */
  depose(): void {
    for (const reign of this.#reigns) {
      reign.deposedAt = Math.min(reign.deposedAt, this.#world.tick());
    }
  }

  /** A writer of this epoch has claimed the branch, and goes on without the journal. */
  abandoned(epoch: number): void {
    this.#abandonedBefore = Math.max(this.#abandonedBefore, epoch);
  }

  isAbandoned({ machine, epoch }: Reign): boolean {
    return machine !== undefined && epoch < this.#abandonedBefore;
  }

  /** Abandoned journals on a machine are no more, or `all`. */
  journalsLost(machine: string, all: boolean): void {
    for (const reign of this.#reigns) {
      if (reign.machine !== machine || (!all && !this.isAbandoned(reign))) continue;
      reign.journalLost = true;
    }
  }

  /**
   * There may be a journal that the branch has gone on without. A `forgetful` machine may still
   * have one that was not discarded because it held nothing.
   */
  mayRefuse(machine: string, forgetful: boolean): boolean {
    return this.#reigns.some((reign) => {
      if (reign.machine !== machine || !this.isAbandoned(reign)) return false;
      return forgetful || !reign.journalLost;
    });
  }

  begin(): Operation {
    return { id: this.#source.next(), start: this.#world.tick(), end: Infinity };
  }

  /** The operation has returned: it has taken effect. */
  end(reign: Reign, operation: Operation): void {
    operation.end = this.#world.tick();
    if (reign.deposedAt < Infinity) reign.lostFrom = Math.min(reign.lostFrom, operation.end);
  }

  /**
   * As `end`, for what is durable when it returns: it counts from `settled` on, a moment after its
   * begin.
   */
  endDurable(reign: Reign, operation: Operation, settled: number, keeper: Keeper): void {
    operation.end = settled;
    operation.returned = this.#world.tick();
    // What had begun before may have come to the store yet.
    const isKept = keeper === 'journal' && this.isAbandoned(reign);
    if (isKept) reign.owes ||= operation.start > reign.deposedAt;
    else this.madeDurable(reign, operation.start);
    this.acknowledge(reign, settled, keeper);
  }

  /** A change that began at `called` is durable. */
  madeDurable(reign: Reign, called: number): void {
    if (called <= reign.deposedAt) return;
    this.#world.fail(`${reign.who} made a change durable after it had been deposed`);
  }

  /** A barrier that was called at `called` has been acknowledged. */
  acknowledge(reign: Reign, called: number, keeper: Keeper): void {
    this.#source.counters.barriers += 1;
    reign.acknowledged = Math.max(reign.acknowledged, called);
    if (keeper === 'store') reign.stored = Math.max(reign.stored, called);
    if (called > reign.lostFrom) {
      if (keeper === 'journal' && this.isAbandoned(reign)) {
        this.#source.counters.keptByJournal += 1;
        reign.owes = true;
        return;
      }
      this.#world.fail(
        `${reign.who} (epoch ${reign.epoch}) acknowledged a barrier, though a writer ` +
          'of a higher epoch has opened without what it covers',
      );
    }
  }

  /** A restore has returned: what the reign goes on as. */
  restored(reign: Reign, called: number): Reign {
    this.madeDurable(reign, called);
    const next = new Reign(reign.epoch, reign.who, reign.restoring!);
    this.#source.counters.restores += 1;
    next.deposedAt = reign.deposedAt;
    next.machine = reign.machine;
    if (reign.deposedAt < Infinity && reign.foundRestored === false) {
      this.#world.fail(`${reign.who} was restored, but its successor did not find that`);
    }
    this.#reigns.splice(this.#reigns.indexOf(reign) + 1, 0, next);
    return next;
  }

  /** What is not known to be newer than the very beginning. */
  get start(): Seen {
    return { reign: this.#reigns[0], from: 0 };
  }

  /** What whoever looks from now on must find. */
  now(): Seen {
    const reign = this.#reigns.at(-1);
    return { reign, from: reign?.stored ?? 0 };
  }

  /** A follower shows `found`; gives what it must show from now on. */
  followed(seen: Seen, found: Found, who: string): Seen {
    const first = seen.reign === undefined ? 0 : this.#reigns.indexOf(seen.reign);
    let complaint = sameState(found, this.#reigns[0]?.base ?? new Map()) ? undefined : 'no reign';
    for (const reign of this.#reigns.slice(first)) {
      const from = reign === seen.reign ? seen.from : 0;
      const cut: Cut = { from, to: reign.lostFrom };
      const context = `what ${who} shows of ${reign.who} (epoch ${reign.epoch})`;
      const reason = explain(reign, found, cut, context, asReturned);
      if (reason === undefined) return { reign, from: cut.from };
      complaint = reason;
      if (reign.restoring !== undefined && sameState(reign.restoring, found))
        return { reign, from };
    }
    // The first writer has not been seen yet.
    if (complaint === undefined) return seen;
    this.#world.fail(`${complaint}; it has shown what was there at ${seen.from}`);
    return seen;
  }

  #checkSuccession(reign: Reign, found: Found, who: string): void {
    reign.foundRestored = reign.restoring !== undefined && sameState(reign.restoring, found);
    const cut: Cut = { from: reign.acknowledged, to: Infinity };
    const context = `what ${who} found after ${reign.who} (epoch ${reign.epoch})`;
    const complaint = explain(reign, found, cut, context, asDurable);
    if (complaint === undefined) reign.lostFrom = Math.min(reign.lostFrom, cut.to);
    else if (reign.foundRestored === true) return;
    else if (this.isAbandoned(reign)) this.#checkAbandoned(reign, found, context);
    else this.#world.fail(complaint);
  }

  #checkAbandoned(reign: Reign, found: Found, context: string): void {
    const cut: Cut = { from: reign.stored, to: Infinity };
    this.#complain(explain(reign, found, cut, `${context}, abandoned`, asReturned));
    reign.lostFrom = Math.min(reign.lostFrom, cut.to);
    reign.owes = true;
    this.#source.counters.abandoned += 1;
  }

  /** Nobody passes over what a journal beside it holds. */
  #checkDebts(who: string, seat: Seat | undefined): void {
    if (seat === undefined || seat.journal.abandon) return;
    for (const reign of this.#reigns) {
      if (reign.machine !== seat.machine.name || !reign.owes || reign.journalLost) continue;
      this.#world.fail(
        `${who} opened beside the journal of ${reign.who}, which is not in the store`,
      );
    }
  }

  #complain(complaint: string | undefined): void {
    if (complaint !== undefined) this.#world.fail(complaint);
  }
}
