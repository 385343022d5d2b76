// Where a database's programs run: here, or on a machine of its own (../support/zfs-host.ts).

/** A program as it is to be started, as whom and in which folder. */
export interface Program {
  readonly path: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly uid?: number;
  readonly gid?: number;
}

/** Somewhere else than here, such as another mount namespace. */
export interface ProgramPlace {
  /** The same program there. It keeps the pid that it is started with. */
  launch(program: Program): Program;
  /** A file of that place, as this process sees it. */
  path(file: string): string;
}

export const HERE: ProgramPlace = { launch: (program) => program, path: (file) => file };
