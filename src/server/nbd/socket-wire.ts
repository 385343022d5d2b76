// A Wire over a net.Socket, and the events that feed its connection.

import type { Socket } from 'node:net';
import type { Connection } from './connection.ts';
import type { Wire } from './wire.ts';

export function createSocketWire(socket: Socket): Wire {
  return {
    send(chunks, sent) {
      // The socket calls back also when it fails: buffers always come home.
      const last = chunks.length - 1;
      if (last === 0) {
        socket.write(chunks[0]!, sent);
        return;
      }
      socket.cork();
      for (let i = 0; i < last; i++) socket.write(chunks[i]!);
      socket.write(chunks[last]!, sent);
      socket.uncork();
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end() {
      socket.end();
      // Input that nobody reads would turn our close into a reset, and a reset may overtake the
      // last replies.
      socket.resume();
    },
    destroy: () => void socket.destroy(),
  };
}

/** Feeds `connection` from the socket until it closes. */
export function attachSocket(socket: Socket, connection: Connection): void {
  socket.on('data', (chunk: Buffer) => connection.receive(chunk));
  socket.on('end', () => connection.receiveEnd());
  // A lost socket is an ordinary end; `close` always follows.
  socket.on('error', () => {});
  socket.on('close', () => connection.closed());
}
