// The local disk as a component, so that tests and the simulator can own it: they tear writes, fill
// the disk, lose files. The real one is in node-disk.ts.
//
// Every method rejects with a StorageError when the operating system refuses.

/** An open file. Operations may overlap; the caller keeps its buffers until they settle. */
export interface DiskFile {
  /** Reads from `position` until `target` is full or the file ends; gives the count of bytes. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes all parts, one after another, from `position` on. */
  write(parts: readonly Uint8Array[], position: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  size(): Promise<number>;
  /** Closes when the operations under way have settled. None may begin afterwards. */
  close(): Promise<void>;
}

export interface Disk {
  /** Makes the directory, for its owner only, unless it is there; gives the names in it. */
  list(directory: string): Promise<readonly string[]>;
  /** Opens a file for reading and writing; makes it, for its owner only, unless it is there. */
  open(directory: string, name: string): Promise<DiskFile>;
  /** Removes a file. One that is not there is no error. */
  remove(directory: string, name: string): Promise<void>;
}
