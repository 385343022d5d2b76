// Points in time as people read them: UTC, to the second, `2031-05-02 17:04:09Z`.

export function formatTime(unixMs: number): string {
  return new Date(unixMs).toISOString().replace('T', ' ').replace(/\.\d+/, '');
}
