// A Wire over a net.Socket, and the events that feed its connection.

import type { Socket } from 'node:net';
import type { Connection } from './connection.ts';
import type { Wire } from './wire.ts';

export interface SocketWire extends Wire {
  /** From now on it is this socket, which has taken the first one over. */
  replace(next: Socket): void;
}

export function createSocketWire(first: Socket): SocketWire {
  let socket = first;
  return {
    replace: (next) => void (socket = next),
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

/**
 * Feeds `connection` from the socket until it closes, or until the function that is returned is
 * called.
 */
export function attachSocket(socket: Socket, connection: Connection): () => void {
  const onData = (chunk: Buffer): void => connection.receive(chunk);
  const onEnd = (): void => connection.receiveEnd();
  socket.on('data', onData);
  socket.on('end', onEnd);
  // A lost socket is an ordinary end; `close` always follows.
  socket.on('error', () => {});
  socket.on('close', () => connection.closed());
  return () => {
    socket.off('data', onData);
    socket.off('end', onEnd);
  };
}
