// What a program of ours says of the error that ended it.

/** Cleaning up after a failure may fail too: both are said, the first one first. */
export function failureText(error: unknown): string {
  if (error instanceof SuppressedError) {
    return `${failureText(error.suppressed)}\nand then: ${failureText(error.error)}`;
  }
  if (error instanceof AggregateError) {
    return [error.message, ...error.errors.map(failureText)].join('\n  ');
  }
  return error instanceof Error ? error.message : String(error);
}
