// Ports for servers that want to be told theirs.

import { type AddressInfo, createServer, type Server } from 'node:net';

/** Two ports of the loopback that nobody listens on now. */
export async function freePorts(): Promise<readonly [number, number]> {
  const servers = await Promise.all([listenAnywhere(), listenAnywhere()]);
  const [first, second] = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return [first!, second!];
}

async function listenAnywhere(): Promise<Server> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}
