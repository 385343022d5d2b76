// The command line: parses the words into a command of commands.ts and its settings, and runs it.
//
// Commands return when they are done and throw what went wrong; main.ts alone turns that into an
// exit code.

import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { messageOf, StorageError } from '../base/errors.ts';
import { COMMAND_GROUPS, COMMANDS, type CommandSpec } from './commands.ts';
import type { CommandContext } from './command-context.ts';
import { type ConfigFile, type Environment, parseConfig } from './config-file.ts';
import { type FlagValues, SETTING_SPECS, type SettingSpec } from './setting-flags.ts';
import { anchorPaths, checkServeSettings, resolveSettings, type Settings } from './settings.ts';

/**
 * Parses `args` (without the interpreter and the script) and runs the command. Throws `invalid` for
 * what cannot be parsed; returns when help was asked for and given.
 */
export async function runProgram(args: readonly string[], context: CommandContext): Promise<void> {
  const version = await readVersion();
  const program = newProgram('varve', context.print)
    .description('Block devices on an object store, with barriers that are really durable.')
    .version(version, '--version');
  for (const spec of COMMANDS) addCommand(program, spec, context);
  for (const { name, summary, commands } of COMMAND_GROUPS) {
    const group = program.command(name).description(summary);
    for (const spec of commands) addCommand(group, spec, context);
  }
  program
    .command('version')
    .description('print the version')
    .action(() => context.print(`varve ${version}\n`));
  await parse(program, args);
}

/** The settings of `varve serve` with these flags. Undefined when help was asked for and given. */
export async function parseServeFlags(
  args: readonly string[],
  context: CommandContext,
): Promise<Settings | undefined> {
  let found: Settings | undefined;
  const program = newProgram('npm start --', context.print);
  program.description('Serves one 10 GiB volume from ./varve-data on this machine.');
  defineCommand(
    program,
    { user: 'serve', run: async (settings) => void (found = settings) },
    context,
  );
  await parse(program, args);
  return found;
}

function newProgram(name: string, print: (text: string) => void): Command {
  return new Command(name).exitOverride().configureOutput({
    writeOut: print,
    // The error that is thrown says it all, and is printed once.
    writeErr: () => {},
  });
}

async function parse(program: Command, args: readonly string[]): Promise<void> {
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    const why =
      error.code === 'commander.help'
        ? 'no command given'
        : error.message
            .replace(/^error: /, '')
            .replaceAll('\n', ' ')
            .replace(/\.$/, '');
    const message = `${why}: try "${program.name()} --help"`;
    throw new StorageError('invalid', message, { cause: error });
  }
}

function addCommand(parent: Command, spec: CommandSpec, context: CommandContext): void {
  defineCommand(parent.command(spec.name).description(spec.summary), spec, context);
}

/** Gives `command` the flags of its settings, and what it does. */
function defineCommand(
  command: Command,
  spec: Pick<CommandSpec, 'user' | 'options' | 'run'>,
  context: CommandContext,
): void {
  command.option('--config <file>', 'read settings from a varve.toml; flags win over it');
  const specs = SETTING_SPECS.filter((one) => one.users.includes(spec.user));
  for (const one of specs) {
    if (one.repeatable === true) {
      command.option(one.flag, one.meaning, collect);
    } else {
      command.option(one.flag, one.meaning);
    }
  }
  for (const [flag, meaning] of spec.options ?? []) command.option(flag, meaning);
  command.action(async () => {
    const options = command.opts<Record<string, unknown>>();
    const config = await readConfig(options['config'], context.env);
    const settings = resolveSettings(flagValues(command, specs), config);
    if (spec.user === 'serve') checkServeSettings(settings);
    await spec.run(settings, context, command.args, options);
  });
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function flagValues(command: Command, specs: readonly SettingSpec[]): FlagValues {
  const values: Record<string, string | boolean | readonly string[]> = {};
  for (const one of specs) {
    const option = command.options.find((candidate) => candidate.flags === one.flag)!;
    const value: unknown = command.getOptionValue(option.attributeName());
    if (typeof value === 'string' || value === true) values[one.key] = value;
    else if (Array.isArray(value)) values[one.key] = value as string[];
  }
  return values;
}

async function readConfig(name: unknown, env: Environment): Promise<ConfigFile | undefined> {
  if (typeof name !== 'string') return undefined;
  let text: string;
  try {
    text = await readFile(name, 'utf8');
  } catch (cause) {
    const why = messageOf(cause);
    throw new StorageError('invalid', `cannot read the configuration: ${why}`, { cause });
  }
  return anchorPaths(parseConfig(name, text, env), resolve(name));
}

export async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { readonly version: string };
  return version;
}
