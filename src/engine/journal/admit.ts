// Whether a process may write a branch whose newest acknowledgements lie in somebody's journal
// (RFC 0004). Asked before an epoch is claimed, so that a refusal disturbs nobody.

import { StorageError } from '../../base/errors.ts';
import type { JournalName, Manifest } from '../manifest/manifest.ts';
import type { JournalSummary } from './read-journal.ts';

/** For whoever has no journal: `fenced` when the branch has one. */
export function admitUnjournaled({ journal }: Manifest): undefined {
  if (journal !== undefined) throw heldError(journal);
}

/** For whoever goes on without it, whatever it holds. */
export function admitAbandoned(): undefined {
  return undefined;
}

/**
 * For whoever found these journals of the branch on the local disk: one of them is the branch's, or
 * the branch has none and the store has all that they say. `fenced` otherwise.
 */
export function admitHolding(
  found: readonly JournalSummary[],
): (manifest: Manifest) => JournalName | undefined {
  return ({ journal, epoch }) => {
    for (const one of found) {
      if (one.id === journal?.id || one.lastSequence <= one.stored) continue;
      throw new StorageError(
        'fenced',
        `the local journal holds ${one.lastSequence - one.stored} commits, acknowledged in epoch ` +
          `${one.epoch}, that the store may lack, and the branch has gone on without it (epoch ` +
          `${epoch}): save them with "varve journal export", or drop them with "varve journal ` +
          'discard"',
      );
    }
    const mine = found.some((one) => one.id === journal?.id);
    if (journal !== undefined && !mine) throw heldError(journal);
    return journal;
  };
}

function heldError({ host, id }: JournalName): StorageError {
  return new StorageError(
    'fenced',
    `the branch is written with a journal on ${host} (${id.slice(0, 8)}), which holds ` +
      'acknowledged changes that the store may lack and is not here: start the server there, or ' +
      'go on without them with --abandon-journal',
  );
}
