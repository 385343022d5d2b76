// Seeds that once found a bug, and what it was. A seed replays the same schedule only as long as
// nothing that draws from its dice changes; it is kept all the same, as one more run of the kind
// that did.

export interface KeptSeed {
  readonly seed: number;
  readonly found: string;
}

export const KEPT_SEEDS: readonly KeptSeed[] = [
  { seed: 115, found: 'a segment handed over an await was full or closed by the time of its use' },
  { seed: 48, found: 'a manifest that landed late was taken for a rival’s: fenced by itself' },
  { seed: 55, found: 'a close of a fenced engine resolved though writes were lost' },
  { seed: 261, found: 'a close during which the engine was fenced broke an invariant instead' },
  {
    seed: 1,
    found: 'a snapshot passed over the flush of another: what was acknowledged was not in it',
  },
  { seed: 79, found: 'two walks over the snapshots at once: what one of them keeps was deleted' },
  { seed: 165, found: 'a prefetch of blocks that moved meanwhile was called damage' },
  { seed: 184, found: 'a fence in the place of a log object that a successor had deleted' },
  { seed: 3, found: 'a read-back that came short made an own object somebody else’s' },
  { seed: 193, found: 'a merge of runs that a restore replaced was called damage' },
  { seed: 147, found: 'a deposed writer published under a number that was free again' },
  { seed: 66, found: 'a writer that published on took its own replaced manifest for a rival’s' },
  { seed: 2208, found: 'a crash behind the restart of a journal left none that says so' },
  { seed: 82, found: 'a follower that looked again in vain called a deleted branch damaged' },
  {
    seed: 342,
    found: 'a follower whose memtable was full behind a move said that it was up to date',
  },
  {
    seed: 343,
    found: 'a child that was given up while it was created: an error that said nothing',
  },
  { seed: 1645, found: 'what a lease held was thrown away twice after each failed deletion' },
  { seed: 3102, found: 'a deleted branch came back as an earlier, half-made one of its name' },
  { seed: 3376, found: 'spooled segments beyond the window held all permits: uploads stood still' },
  {
    seed: 6442,
    found: 'a slot whose removal a clean end cut short: as if it held what the store lacks',
  },
  { seed: 8208, found: 'a follower that had to wait with a move said that it was up to date' },
  { seed: 167, found: 'the first slot of a journal was used again before the bucket knew of it' },
  {
    seed: 352,
    found: 'behind a restore a journal let slots go by the sequences of the one before',
  },
];
