// A value that is there already, or a promise of it. What memory can answer takes no promise.

export type Maybe<T> = T | Promise<T>;
