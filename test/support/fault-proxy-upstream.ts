// The real server behind a fault proxy, asked with the client's own request line and headers, so
// that a signature over them stays valid.

import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';

/** RFC 9110 §7.6.1: these are about one connection, not about the message. */
const HOP_BY_HOP = /^(connection|keep-alive|transfer-encoding|expect|te|upgrade|proxy-.*)$/i;

/** Shorter than any server's own, so that a kept connection is not closed under a request. */
const KEEP_ALIVE_MS = 4000;

export interface Upstream {
  /** Sends the head; the caller writes the body. `answer` rejects when there is none. */
  ask(request: IncomingMessage): {
    readonly out: ClientRequest;
    readonly answer: Promise<IncomingMessage>;
  };
  close(): void;
}

export function createUpstream(host: string, port: number): Upstream {
  const agent = new Agent({ keepAlive: true, timeout: KEEP_ALIVE_MS });
  return {
    ask(request) {
      const out = httpRequest({
        host,
        port,
        agent,
        method: request.method,
        path: request.url,
        headers: endToEnd(request.rawHeaders),
        setDefaultHeaders: false,
      });
      const answer = new Promise<IncomingMessage>((resolve, reject) => {
        out.once('response', resolve);
        // Also after the answer has begun: then the answer's own stream breaks, too.
        out.on('error', reject);
        out.once('close', () => reject(new Error('closed without an answer')));
      });
      // Whoever cuts the request asks for no answer.
      answer.catch(() => {});
      return { out, answer };
    },
    close: () => agent.destroy(),
  };
}

/** Names and values in turn, as Node gives and takes them. */
export function endToEnd(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!HOP_BY_HOP.test(raw[i]!)) kept.push(raw[i]!, raw[i + 1]!);
  }
  return kept;
}
