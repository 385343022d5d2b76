// A listing of S3 (ListObjectsV2) as it was some time ago: without what was put since.
//
// Objects that were deleted since do not come back, so this is a listing that never was when
// something was deleted; for a store without overwriting that is the harmless half.

const CONTENTS = /<Contents>.*?<\/Contents>/gs;
const LAST_MODIFIED = /<LastModified>([^<]+)<\/LastModified>/;

/** Also mends the count. What is no listing is returned as it is. */
export function withoutNewest(xml: string, nowMs: number, staleMs: number): string {
  let removed = 0;
  const text = xml.replace(CONTENTS, (entry) => {
    const modifiedMs = Date.parse(LAST_MODIFIED.exec(entry)?.[1] ?? '');
    if (!(modifiedMs > nowMs - staleMs)) return entry;
    removed += 1;
    return '';
  });
  return text.replace(
    /<KeyCount>(\d+)<\/KeyCount>/,
    (_, count: string) => `<KeyCount>${Number(count) - removed}</KeyCount>`,
  );
}
