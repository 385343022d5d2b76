import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exportUri, parseUpstream, upstreamOfFaces } from './upstream.ts';

test('addresses are read and written as libnbd does', () => {
  const cases = [
    ['nbd+unix:///?socket=/run/a%20b.sock', 'nbd+unix:///v%2Fw?socket=/run/a%20b.sock'],
    ['nbd+unix:///old?x=1&socket=/run/a+b', 'nbd+unix:///v%2Fw?socket=/run/a%2Bb'],
    ['nbd://localhost', 'nbd://localhost:10809/v%2Fw'],
    ['nbd://[::1]:7/old', 'nbd://[::1]:7/v%2Fw'],
  ] as const;
  for (const [given, uri] of cases) assert.equal(exportUri(parseUpstream(given), 'v/w'), uri);
});

test('what is no address is refused with what to write', () => {
  const cases = [
    ['/run/varve.sock', /is no NBD address: write nbd\+unix/],
    ['unix:/run/varve.sock', /is no NBD address/],
    ['nbd+unix:///v', /names no socket: add \?socket=PATH/],
    ['nbd+unix:///?socket=%', /broken escape/],
    ['nbd:///v', /names no host/],
    ['nbds://host/', /takes TLS, which attach does not speak: .*--nbd unix:PATH/],
    ['nbds+unix:///?socket=/s', /takes TLS/],
  ] as const;
  for (const [given, message] of cases) {
    assert.throws(() => parseUpstream(given), { kind: 'invalid', message });
  }
});

test('of the faces of a server a Unix socket comes first, and one with TLS never', () => {
  const face = (uri: string, kind = 'nbd') => ({ kind, uri });
  const [tls, tcp] = [face('nbds://0.0.0.0:1'), face('nbd://127.0.0.1:2')];
  const unix = face('nbd+unix:///?socket=/s');
  assert.deepEqual(upstreamOfFaces([tls, tcp, unix]), { socket: '/s' });
  assert.deepEqual(upstreamOfFaces([tls, tcp]), { host: '127.0.0.1', port: 2 });
  assert.throws(() => upstreamOfFaces([tls]), /takes TLS/);
  assert.throws(() => upstreamOfFaces([face('http://x', 'http')]), /no NBD address: .*--nbd/);
});
