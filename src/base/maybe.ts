// A value that is there already, or a promise of it. What memory can answer takes no promise, and
// so no turn.

export type Maybe<T> = T | Promise<T>;
