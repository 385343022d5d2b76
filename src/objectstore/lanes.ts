// Classes of requests that must not hold each other up: each has its own connections, and what a
// client waits for goes before what nobody waits for when tries are rationed.

import type { RequestCause } from './object-store.ts';

export type Lane =
  | 'read' // somebody waits for bytes
  | 'commit' // somebody waits for a barrier
  | 'background'; // nobody waits

const LANES: Readonly<Record<RequestCause, Lane>> = {
  open: 'read',
  admin: 'read',
  read: 'read',
  lookup: 'read',
  barrier: 'commit',
  flush: 'background',
  compaction: 'background',
  collection: 'background',
};

export function laneOf(cause: RequestCause): Lane {
  return LANES[cause];
}
