// Which commands there are, what they take, and how each is started.
//
// A command's code is imported when it runs, so that `varve status` does not load an S3 client.

import type { CommandContext } from './command-context.ts';
import type { SettingUser } from './setting-flags.ts';
import type { Settings } from './settings.ts';

export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  readonly user: SettingUser;
  readonly options?: readonly (readonly [flag: string, meaning: string])[];
  readonly run: (
    settings: Settings,
    context: CommandContext,
    args: readonly string[],
    options: Readonly<Record<string, unknown>>,
  ) => Promise<void>;
}

export interface CommandGroup {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly CommandSpec[];
}

const AS_JSON = ['--json', 'as JSON, for scripts'] as const;

function textOf(option: unknown): string | undefined {
  return typeof option === 'string' ? option : undefined;
}

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'init',
    summary: 'create a store; refuses one that exists',
    user: 'init',
    run: async (settings, context) => (await import('./init.ts')).runInit(settings, context),
  },
  {
    name: 'serve',
    summary: 'serve the volumes of a store',
    user: 'serve',
    run: async (settings, context) => (await import('./serve.ts')).runServe(settings, context),
  },
  {
    name: 'status',
    summary: 'show what a running server does',
    user: 'client',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./status.ts')).runStatus(settings, context, json === true),
  },
  {
    name: 'flush',
    summary: 'return when all that was written is durable',
    user: 'client',
    run: async (settings) => (await import('./flush.ts')).runFlush(settings),
  },
  {
    name: 'attach [volume]',
    summary: 'make a volume a block device of this machine, and print its path',
    user: 'client',
    options: [
      ['--list', 'list what is attached'],
      ['--server <uri>', 'nbd+unix:///?socket=PATH or nbd://HOST:PORT, not the one in --state'],
      ['--read-only', 'the device takes no writes'],
      ['--how <way>', 'auto, kernel or nbdfuse (default: auto)'],
      ['--reconnect <when>', 'when the server has ended: never, clean or always (default: clean)'],
      ['--patience <seconds>', 'how long requests then wait before they fail (default: 120)'],
      AS_JSON,
    ],
    run: async (settings, context, [volume], options) =>
      (await import('./attach.ts')).runAttach(settings, context, {
        volume,
        list: options['list'] === true,
        server: textOf(options['server']),
        how: textOf(options['how']),
        readOnly: options['readOnly'] === true,
        reconnect: textOf(options['reconnect']),
        patience: textOf(options['patience']),
        json: options['json'] === true,
      }),
  },
  {
    name: 'detach <volume>',
    summary: 'take the block device of a volume away, by either name, unless it is in use',
    user: 'client',
    options: [['--force', 'lose what was not flushed: its server will not come back']],
    run: async (settings, context, [name], { force }) =>
      (await import('./attach.ts')).runDetach(settings, context, name!, force === true),
  },
  {
    name: 'upgrade',
    summary: 'replace the running server with what is installed now; clients go on',
    user: 'client',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./upgrade.ts')).runUpgrade(settings, context, json === true),
  },
  {
    name: 'restore <snapshot>',
    summary: 'make all volumes what a snapshot holds; what was written since is lost',
    user: 'client',
    run: async (settings, context, [name]) =>
      (await import('./restore.ts')).runRestore(settings, context, name!),
  },
  {
    name: 'gc',
    summary: 'free what nothing needs any more, now',
    user: 'client',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./gc.ts')).runGc(settings, context, json === true),
  },
  {
    name: 'fsck',
    summary: 'check a store; needs no server, and does one no harm',
    user: 'offline',
    options: [
      ['--deep', 'read every byte of every object too'],
      ['--repair', 'mend counts and frame tables; takes the branch over'],
      ['--branch <name>', 'check only this branch'],
      AS_JSON,
    ],
    run: async (settings, context, _args, { deep, repair, branch, json }) =>
      (await import('./fsck.ts')).runFsck(settings, context, {
        deep: deep === true,
        repair: repair === true,
        branch: typeof branch === 'string' ? branch : undefined,
        json: json === true,
      }),
  },
  {
    name: 'salvage [store]',
    summary: 'make a branch of what is left of a damaged one',
    user: 'offline',
    options: [
      ['--branch <name>', 'name of the branch to make'],
      ['--from <branch>', 'id or name of the damaged one (default: the largest)'],
      AS_JSON,
    ],
    run: async (settings, context, [store], { branch, from, json }) =>
      (await import('./salvage.ts')).runSalvage(settings, context, {
        store,
        branch: typeof branch === 'string' ? branch : undefined,
        from: typeof from === 'string' ? from : undefined,
        json: json === true,
      }),
  },
];

const VOLUME_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'create <name> <size>',
    summary: 'make a volume, empty and as large as SIZE (10G)',
    user: 'client',
    run: async (settings, context, [name, size]) =>
      (await import('./volume.ts')).runVolumeCreate(settings, context, name!, size!),
  },
  {
    name: 'list',
    summary: 'list the volumes',
    user: 'client',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./volume.ts')).runVolumeList(settings, context, json === true),
  },
  {
    name: 'resize <name> <size>',
    summary: 'change the size of a volume',
    user: 'client',
    options: [['--force', 'also shrink it: what lies past the new end is lost']],
    run: async (settings, context, [name, size], { force }) =>
      (await import('./volume.ts')).runVolumeResize(settings, context, {
        name: name!,
        size: size!,
        force: force === true,
      }),
  },
  {
    name: 'delete <name>',
    summary: 'delete a volume and all it holds',
    user: 'client',
    run: async (settings, context, [name]) =>
      (await import('./volume.ts')).runVolumeDelete(settings, context, name!),
  },
];

const SNAPSHOT_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'create <name>',
    summary: 'keep the state of all volumes as it is now',
    user: 'client',
    run: async (settings, context, [name]) =>
      (await import('./snapshot.ts')).runSnapshotCreate(settings, context, name!),
  },
  {
    name: 'list',
    summary: 'list the snapshots, and what each keeps',
    user: 'client',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./snapshot.ts')).runSnapshotList(settings, context, json === true),
  },
  {
    name: 'delete <name>',
    summary: 'delete a snapshot; what only it kept is freed',
    user: 'client',
    run: async (settings, context, [name]) =>
      (await import('./snapshot.ts')).runSnapshotDelete(settings, context, name!),
  },
];

const BRANCH_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'create <name>',
    summary: 'a branch of its own, which another server can write at once',
    user: 'client',
    options: [['--from <snapshot>', 'begin there, not with the state as it is now']],
    run: async (settings, context, [name], { from }) =>
      (await import('./branch.ts')).runBranchCreate(settings, context, {
        name: name!,
        from: typeof from === 'string' ? from : undefined,
      }),
  },
  {
    name: 'list',
    summary: 'list the branches of the store',
    user: 'client',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./branch.ts')).runBranchList(settings, context, json === true),
  },
  {
    name: 'delete <name>',
    summary: 'delete a branch, its volumes and its snapshots',
    user: 'client',
    run: async (settings, context, [name]) =>
      (await import('./branch.ts')).runBranchDelete(settings, context, name!),
  },
];

const JOURNAL_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'inspect',
    summary: 'list what journals in the state directory hold',
    user: 'journal',
    options: [AS_JSON],
    run: async (settings, context, _args, { json }) =>
      (await import('./journal.ts')).runJournalInspect(settings, context, json === true),
  },
  {
    name: 'export <journal> <file>',
    summary: 'write the changes that the store may lack to a file',
    user: 'journal',
    run: async (settings, context, [id, file]) =>
      (await import('./journal.ts')).runJournalExport(settings, context, id!, file!),
  },
  {
    name: 'discard <journal>',
    summary: 'delete a journal, whatever it holds',
    user: 'journal',
    run: async (settings, context, [id]) =>
      (await import('./journal.ts')).runJournalDiscard(settings, context, id!),
  },
];

export const COMMAND_GROUPS: readonly CommandGroup[] = [
  {
    name: 'volume',
    summary: 'create, list, resize, delete volumes',
    commands: VOLUME_COMMANDS,
  },
  { name: 'snapshot', summary: 'create, list, delete snapshots', commands: SNAPSHOT_COMMANDS },
  { name: 'branch', summary: 'create, list, delete branches', commands: BRANCH_COMMANDS },
  {
    name: 'journal',
    summary: 'what a server that is gone left in its journal',
    commands: JOURNAL_COMMANDS,
  },
];
