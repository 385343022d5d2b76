// What tests of commands share: a store in a directory, a server, and commands that must succeed or
// must be refused.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type AdminClient, createAdminClient } from '../../src/server/http/client.ts';
import { nbdsh } from '../support/command.ts';
import { createVarveBox, type VarveBox, type VarveServer } from '../support/varve-process.ts';

export const STORE = ['--store', 'file:store'];

export interface CommandBox {
  readonly box: VarveBox;
  /** Of the branch `main`, with the volume `disk` of 8 MiB; `nbd.sock`. */
  readonly server: VarveServer;
  /** Runs a command that has to succeed; resolves with stdout. */
  must(...args: string[]): Promise<string>;
  /** Runs a command that has to fail, with one line. */
  refused(code: number, reason: RegExp, ...args: string[]): Promise<void>;
  /** Asks the server without a process of its own: for what is no matter of the command line. */
  readonly client: AdminClient;
  /** Another server of the store: its state is `NAME`, its socket `NAME.sock`. */
  serveBeside(name: string, ...flags: string[]): Promise<VarveServer>;
  uri(volume: string, socket?: string): string;
  /** Makes `text` durable at the start of a volume. */
  write(text: string, volume?: string, socket?: string): Promise<void>;
  /** The volume begins with what `write` wrote. */
  expect(text: string, volume?: string, socket?: string): Promise<void>;
}

/** Creates the store and serves it. The caller removes the box. */
export async function createCommandBox(): Promise<CommandBox> {
  const box = await createVarveBox();

  async function must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await box.run(args);
    assert.equal(code, 0, `varve ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  function uri(volume: string, socket = 'nbd.sock'): string {
    return `nbd+unix:///${volume}?socket=${box.dir}/${socket}`;
  }

  try {
    await must('init', ...STORE);
    const flags = ['--nbd', 'unix:nbd.sock', '--volume', 'disk=8M'];
    const server = await box.serve([...STORE, ...flags]);
    return {
      box,
      server,
      must,
      async refused(code, reason, ...args) {
        const ended = await box.run(args);
        assert.equal(ended.code, code, `varve ${args.join(' ')}: ${ended.stderr}`);
        // One line; on a slow machine what it was doing is said before.
        assert.match(ended.stderr, /^(varve: [^\n]+, \d+ s\n)*varve: [^\n]+\n$/);
        assert.match(ended.stderr, reason);
        assert.equal(ended.stdout, '');
      },
      client: createAdminClient(join(box.dir, 'varve-state/admin.sock')),
      serveBeside: (name, ...more) =>
        box.serve([...STORE, '--state', name, '--nbd', `unix:${name}.sock`, ...more]),
      uri,
      async write(text, volume = 'disk', socket = 'nbd.sock') {
        await nbdsh(uri(volume, socket), [`h.pwrite(b"${text}".ljust(4096), 0)`, 'h.flush()']);
      },
      async expect(text, volume = 'disk', socket = 'nbd.sock') {
        const lines = ['got = h.pread(4096, 0)', `assert got == b"${text}".ljust(4096), got[:32]`];
        await nbdsh(uri(volume, socket), lines);
      },
    };
  } catch (error) {
    await box.remove();
    throw error;
  }
}
