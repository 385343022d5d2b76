import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Agent, createServer, type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { until } from './command.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { obey } from './fault-proxy-commands.ts';
import { FaultPlan, proxySettings } from './fault-proxy-plan.ts';
import { withoutNewest } from './fault-proxy-stale.ts';

interface Seen {
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  readonly sha256: string;
  readonly whole: boolean;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Bench {
  readonly proxy: FaultProxy;
  /** Requests that reached the server, in the order in which they ended. */
  readonly seen: readonly Seen[];
  send(method: string, path: string, body?: Buffer): Promise<Answer>;
}

const LISTING = `<ListBucketResult><KeyCount>2</KeyCount>
<Contents><Key>old</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>
<Contents><Key>new</Key><LastModified>2999-01-01T00:00:00.000Z</LastModified></Contents>
</ListBucketResult>`;
const GET_BODY = randomBytes(300_000);

/** A server that answers a GET with bytes or a listing, and anything else with how often. */
async function bench(t: TestContext, keepAlive = false): Promise<Bench> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const hash = createHash('sha256');
    let bytes = 0;
    request.on('data', (part: Buffer) => {
      bytes += part.length;
      hash.update(part);
    });
    request.on('error', () => {});
    request.on('close', () => {
      const line = `${request.method} ${request.url}`;
      const { headers, complete: whole } = request;
      seen.push({ line, headers, bytes, sha256: hash.digest('hex'), whole });
    });
    request.on('end', () => {
      if (request.method !== 'GET') response.setHeader('x-number', String(seen.length + 1));
      const listing = request.url?.includes('list-type=2') === true;
      response.end(request.method === 'GET' ? (listing ? LISTING : GET_BODY) : '');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const proxy = await startFaultProxy({ host: '127.0.0.1', port });
  const agent = new Agent({ keepAlive });
  t.after(async () => {
    agent.destroy();
    await proxy.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  return { proxy, seen, send: (...args) => send(proxy.port, agent, ...args) };
}

function send(
  port: number,
  agent: Agent,
  method: string,
  path: string,
  body?: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      host: 'bucket.example:80',
      'x-Amz-Mixed': 'Kept',
      ...(body === undefined ? {} : { 'content-length': body.length }),
    };
    const out = httpRequest({ host: '127.0.0.1', port, agent, method, path, headers });
    out.on('error', reject);
    out.on('response', (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () =>
        resolve({
          status: answer.statusCode!,
          headers: answer.headers,
          body: Buffer.concat(parts),
        }),
      );
    });
    out.end(body);
  });
}

test('without faults requests and answers pass unchanged', async (t) => {
  const { proxy, seen, send } = await bench(t, true);
  const body = randomBytes(1_000_000);
  const put = await send('PUT', '/b/k%20ey?x=%2F&y', body);
  const got = await send('GET', '/b/key');
  const head = await send('HEAD', '/b/key');
  assert.deepEqual([put.status, put.headers['x-number']], [200, '1']);
  assert.deepEqual(got.body, GET_BODY);
  assert.equal(head.status, 200);
  assert.equal(seen[0]!.line, 'PUT /b/k%20ey?x=%2F&y');
  assert.equal(seen[0]!.sha256, createHash('sha256').update(body).digest('hex'));
  assert.equal(seen[0]!.headers.host, 'bucket.example:80');
  assert.equal(seen[0]!.headers['x-amz-mixed'], 'Kept');
  assert.equal(seen[0]!.headers['content-length'], '1000000');
  assert.equal(seen[1]!.headers['content-length'], undefined);
  assert.equal(proxy.counters().forwarded, 3);
});

test('errors are S3 errors and reach no server', async (t) => {
  const { proxy, seen, send } = await bench(t);
  proxy.next({ fault: 'slowDown' });
  proxy.next({ fault: 'tooMany', method: 'PUT', path: '/log/' });
  const slow = await send('PUT', '/b/k', randomBytes(2_000_000));
  assert.equal(slow.status, 503);
  assert.match(slow.body.toString(), /<Code>SlowDown<\/Code>/);
  assert.equal((await send('PUT', '/b/other')).status, 200);
  const many = await send('PUT', '/b/log/7');
  assert.deepEqual([many.status, many.headers['retry-after']], [429, '1']);
  assert.equal(seen.length, 1);
  assert.deepEqual(proxy.counters().faults, { slowDown: 1, tooMany: 1 });
});

test('a cut before or after the body reaches no server, one within it a part', async (t) => {
  const { proxy, seen, send } = await bench(t);
  const body = randomBytes(3_000_000);
  for (const fault of ['cutBefore', 'cutAfter'] as const) {
    proxy.next({ fault });
    await assert.rejects(send('PUT', '/b/k', body), /ECONNRESET|EPIPE|hang up/);
  }
  assert.equal(seen.length, 0);
  proxy.next({ fault: 'cutDuring' });
  await assert.rejects(send('PUT', '/b/k', body), /ECONNRESET|EPIPE|hang up/);
  await until('the server sees the cut', () => seen.length === 1);
  assert.ok(!seen[0]!.whole && seen[0]!.bytes < body.length, `${seen[0]!.bytes} bytes`);
});

test('a cut answer is shorter than announced', async (t) => {
  const { proxy, send } = await bench(t);
  proxy.next({ fault: 'cutResponse' });
  await assert.rejects(send('GET', '/b/k'), /aborted|ECONNRESET|hang up/);
});

test('a duplicate is done twice and the second answer returned', async (t) => {
  const { proxy, seen, send } = await bench(t);
  proxy.next({ fault: 'duplicate' });
  const body = randomBytes(100_000);
  const answer = await send('PUT', '/b/k', body);
  assert.equal(answer.headers['x-number'], '2');
  assert.equal(seen.length, 2);
  assert.equal(seen[0]!.sha256, seen[1]!.sha256);
});

test('a lost reply has happened; a late request happens after its connection broke', async (t) => {
  const { proxy, seen, send } = await bench(t);
  proxy.set({ lateMs: 50 });
  proxy.next({ fault: 'loseReply' });
  await assert.rejects(send('PUT', '/b/k', randomBytes(1000)), /ECONNRESET|hang up/);
  assert.equal(seen.length, 1);
  proxy.next({ fault: 'late' });
  await assert.rejects(send('DELETE', '/b/k'), /ECONNRESET|hang up/);
  assert.equal(seen.length, 1);
  await until('the late one comes', () => seen.length === 2);
});

test('a stale listing lacks what is new', async (t) => {
  const { proxy, send } = await bench(t);
  proxy.next({ fault: 'staleList' });
  assert.equal((await send('GET', '/b/k')).body.length, GET_BODY.length);
  const list = (await send('GET', '/b?list-type=2&prefix=p')).body.toString();
  assert.match(list, /<KeyCount>1<\/KeyCount>/);
  assert.match(list, /old/);
  assert.doesNotMatch(list, /new/);
  assert.equal(withoutNewest('no listing', 0, 1000), 'no listing');
});

test('a black hole holds one request and no other', async (t) => {
  const { proxy, seen, send } = await bench(t);
  proxy.next({ fault: 'blackHole' });
  let settled = false;
  const held = send('GET', '/b/held').finally(() => (settled = true));
  held.catch(() => {});
  assert.equal((await send('GET', '/b/other')).status, 200);
  assert.equal(seen.length, 1);
  assert.equal(settled, false);
  proxy.cut();
  await assert.rejects(held, /ECONNRESET|hang up/);
});

for (const how of ['refuse', 'reset', 'blackHole'] as const) {
  test(`dark (${how}): nothing gets through until there is light`, async (t) => {
    const { proxy, seen, send } = await bench(t);
    await send('GET', '/b/1');
    await proxy.dark(how);
    const before = proxy.counters().connectionsCut;
    const tried = send('GET', '/b/2');
    if (how === 'refuse') await assert.rejects(tried, /ECONNREFUSED/);
    if (how === 'reset') await assert.rejects(tried, /ECONNRESET|hang up/);
    const { port } = proxy;
    const lost = assert.rejects(tried);
    await until('it was met', () => how === 'refuse' || proxy.counters().connectionsCut > before);
    await proxy.light();
    await lost;
    assert.equal(proxy.port, port);
    assert.equal((await send('GET', '/b/3')).status, 200);
    assert.deepEqual(
      seen.map(({ line }) => line),
      ['GET /b/1', 'GET /b/3'],
    );
  });
}

test('a server that fails is a reset, and counted', async (t) => {
  const { proxy, send } = await bench(t);
  const gone = await startFaultProxy({ host: '127.0.0.1', port: proxy.port });
  t.after(() => gone.close());
  await proxy.dark('refuse');
  const agent = new Agent();
  await assert.rejects(sendThrough(gone, agent), /ECONNRESET|hang up/);
  assert.equal(gone.counters().serverFailures, 1);
  await proxy.light();
  assert.equal((await send('GET', '/b/k')).status, 200);
});

function sendThrough(proxy: FaultProxy, agent: Agent): Promise<Answer> {
  return send(proxy.port, agent, 'GET', '/b/k');
}

test('one seed is one series of faults, as likely as was said', () => {
  const decisions = (seed: number) => {
    const plan = new FaultPlan(seed);
    plan.settings = proxySettings.parse({ faults: { slowDown: 0.2, loseReply: 0.1 } });
    return Array.from(
      { length: 5000 },
      () => plan.decide({ method: 'PUT', target: '/b/k', hasBody: true }).fault,
    );
  };
  const first = decisions(7);
  assert.deepEqual(first, decisions(7));
  assert.notDeepEqual(first, decisions(8));
  const share = (name: string) => first.filter((one) => one === name).length / first.length;
  assert.ok(Math.abs(share('slowDown') - 0.2) < 0.03, `${share('slowDown')}`);
  assert.ok(Math.abs(share('loseReply') - 0.1) < 0.03, `${share('loseReply')}`);
});

test('latency and rate are those that were set, at least', async (t) => {
  const { proxy, send } = await bench(t);
  proxy.set({ latencyMs: 40, bytesPerSecond: 3_000_000 });
  const startedMs = performance.now();
  assert.equal((await send('GET', '/b/k')).body.length, GET_BODY.length);
  // 40 ms and 300 kB at 3 MB/s; timers may be early by one.
  assert.ok(performance.now() - startedMs >= 138);
});

test('commands by line: what is wrong is said, what is right is done', async (t) => {
  const { proxy, send } = await bench(t);
  assert.deepEqual(JSON.parse(await obey(proxy, '{"set":{"faults":{"slowDown":1}}}')), {
    ok: true,
  });
  assert.equal((await send('GET', '/b/k')).status, 503);
  await obey(proxy, '{"set":{}}');
  assert.equal((await send('GET', '/b/k')).status, 200);
  await obey(proxy, '{"dark":"refuse"}');
  await assert.rejects(send('GET', '/b/k'), /ECONNREFUSED/);
  await obey(proxy, '{"light":true}');
  const counters = JSON.parse(await obey(proxy, '{"counters":true}')) as { faults: object };
  assert.deepEqual(counters.faults, { slowDown: 1 });
  for (const bad of ['', '[]', '{"set":{"fault":1}}', '{"set":{"faults":{"slow":1}}}']) {
    assert.match(await obey(proxy, bad), /^\{"error":/);
  }
});
