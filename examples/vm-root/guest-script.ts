// What runs in the guest: it writes files to its root disk and says which ones are durable.

/** Names the sync that a client of a database would call a commit. */
const DURABLE = /^durable (\d+) ([0-9a-f]{64})$/;

/** Of random bytes: nothing finds the same ones twice. */
const FILE_BYTES = 64 * 1024;

/** Where the files lie, from the root. */
export const FOLDER = 'var/durable';

/** Writes until the share has a file `stop`, or the disk fails; both are said. */
export const WRITER_SCRIPT = `
set -u
mkdir -p /${FOLDER}
echo "root $(findmnt -n -o SOURCE,FSTYPE / | tr -s ' ')"
n=0
until [ -e /share/stop ]; do
  n=$((n + 1))
  file=/${FOLDER}/$n
  if ! head -c ${FILE_BYTES} /dev/urandom >$file || ! sync $file /${FOLDER}; then
    echo "failed $n"
    exit 3
  fi
  echo "durable $n $(sha256sum <$file | cut -d' ' -f1)"
done
echo stopped
`;

export interface DurableFile {
  readonly name: string;
  readonly sha256: string;
}

/** Undefined for a line that says something else. */
export function parseDurable(line: string): DurableFile | undefined {
  const [, name, sha256] = DURABLE.exec(line) ?? [];
  return name === undefined || sha256 === undefined ? undefined : { name, sha256 };
}
