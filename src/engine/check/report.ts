// What a check found. The list of errors is bounded; what is past the bound is only counted.

import { isStorageError, messageOf } from '../../base/errors.ts';

export type CheckErrorKind =
  /** An object that something names is not there. */
  | 'missing'
  /** An object, or a part of one, does not open: it is not what was written. */
  | 'damaged'
  /** An object has another length than what names it says. */
  | 'size'
  /** Keys of a table are out of order, or outside of what its manifest says. */
  | 'order'
  /** A block map points at a segment without a frame table, or past its last block. */
  | 'pointer'
  /** A live count is not the number of pointers. */
  | 'count'
  /** A frame table is not the one that the object was written with. */
  | 'frames'
  /** The log cannot be replayed. */
  | 'log'
  /** The records of volumes contradict one another. */
  | 'volumes';

export interface CheckError {
  readonly kind: CheckErrorKind;
  /** Name of the object below the store's prefix. */
  readonly object: string;
  readonly what: string;
  /** Name of the branch in whose check it came up; undefined for the store's own objects. */
  readonly branch: string | undefined;
  /** "head", "log", a snapshot's or a child's name. */
  readonly root: string | undefined;
}

export interface BranchCheck {
  readonly name: string;
  readonly id: string;
  /** Number of the manifest that was checked, 0 when none could be read. */
  readonly manifest: number;
  readonly roots: number;
  readonly errors: number;
}

export interface CheckReport {
  readonly branches: readonly BranchCheck[];
  readonly errors: readonly CheckError[];
  /** Of all errors, those that are not listed included. */
  readonly errorCount: number;
  readonly notes: readonly string[];
  /** What no root reaches. */
  readonly garbage: { readonly objects: number; readonly bytes: number };
  readonly checked: CheckCounters;
}

export interface CheckCounters {
  roots: number;
  runs: number;
  tables: number;
  entries: number;
  segments: number;
  /** Log and data objects that were read to the last byte. */
  objectsRead: number;
  bytesRead: number;
}

/** More than a person reads, and little memory. */
export const ERRORS_MAX = 1000;
const NOTES_MAX = 1000;

export class Findings {
  readonly errors: CheckError[] = [];
  readonly notes: string[] = [];
  errorCount = 0;
  readonly checked: CheckCounters = {
    roots: 0,
    runs: 0,
    tables: 0,
    entries: 0,
    segments: 0,
    objectsRead: 0,
    bytesRead: 0,
  };
  #branch: string | undefined;
  #root: string | undefined;

  /** Of what the errors are that come from now on. */
  enter(branch: string | undefined, root: string | undefined): void {
    this.#branch = branch;
    this.#root = root;
  }

  error(kind: CheckErrorKind, object: string, what: string): void {
    this.errorCount += 1;
    if (this.errors.length >= ERRORS_MAX) return;
    this.errors.push({ kind, object, what, branch: this.#branch, root: this.#root });
  }

  /** Damage becomes an error of the report; what only says that the store fails is thrown on. */
  caught(kind: CheckErrorKind, object: string, error: unknown): void {
    if (isStorageError(error, 'notFound')) this.error('missing', object, 'is not there');
    else if (isDamage(error)) this.error(kind, object, messageOf(error));
    else throw error;
  }

  note(text: string): void {
    if (this.notes.length < NOTES_MAX) this.notes.push(text);
  }

  /** Takes back what was found since `mark`: it was about something that has gone meanwhile. */
  forget(mark: { readonly errors: number; readonly errorCount: number }): void {
    this.errors.length = Math.min(this.errors.length, mark.errors);
    this.errorCount = mark.errorCount;
  }

  mark(): { readonly errors: number; readonly errorCount: number } {
    return { errors: this.errors.length, errorCount: this.errorCount };
  }
}

/** `invalid` is what a range past the end of a truncated object gives. */
export function isDamage(error: unknown): boolean {
  return isStorageError(error, 'corrupt') || isStorageError(error, 'invalid');
}
