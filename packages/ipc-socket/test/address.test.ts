import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { netOptions, parseAddress, parseClientAddress } from '../src/address.ts';
import { createSocketClient, createSocketServer } from '../src/index.ts';

describe('addresses', () => {
  test.each([
    ['unix:/run/x.sock', '/run/x.sock'],
    ['/run/x.sock', '/run/x.sock'],
    ['unix:/run/../x.sock', '/x.sock'],
    ['unix:x.sock', resolve('x.sock')],
    ['./x.sock', resolve('x.sock')],
    ['x.sock', resolve('x.sock')],
    ['/run/with:colon', '/run/with:colon'],
    ['/run/ünïcode', '/run/ünïcode'],
  ])('%s is the path %s', (address, path) => {
    expect(parseAddress(address)).toEqual({ kind: 'unix', text: `unix:${path}`, path });
  });

  test.each([
    ['tcp:127.0.0.1:80', '127.0.0.1', 80, 'tcp:127.0.0.1:80'],
    ['tcp:8080', '127.0.0.1', 8080, 'tcp:127.0.0.1:8080'],
    ['tcp:0', '127.0.0.1', 0, 'tcp:127.0.0.1:0'],
    ['tcp:example.org:65535', 'example.org', 65_535, 'tcp:example.org:65535'],
    ['tcp:0.0.0.0:1', '0.0.0.0', 1, 'tcp:0.0.0.0:1'],
    ['tcp:[::1]:443', '::1', 443, 'tcp:[::1]:443'],
    ['tcp:[fe80::1%eth0]:443', 'fe80::1%eth0', 443, 'tcp:[fe80::1%eth0]:443'],
    ['TCP:1', '127.0.0.1', 1, 'tcp:127.0.0.1:1'],
  ])('%s is host %s, port %d', (address, host, port, text) => {
    expect(parseAddress(address)).toEqual({ kind: 'tcp', text, host, port });
  });

  test.each([
    ['pipe:checksums', '\\\\.\\pipe\\checksums', 'pipe:checksums'],
    ['pipe:a/b', '\\\\.\\pipe\\a/b', 'pipe:a/b'],
    ['\\\\.\\pipe\\checksums', '\\\\.\\pipe\\checksums', 'pipe:checksums'],
  ])('%s is the named pipe %s on Windows', (address, path, text) => {
    const parsed = parseAddress(address);
    expect(parsed).toEqual({ kind: 'pipe', text, path });
    expect(netOptions(parsed, 'win32')).toEqual({ path });
    expect(() => netOptions(parsed, 'linux')).toThrow(expect.objectContaining({ code: 'ERR_IPC_UNSUPPORTED' }));
  });

  test('Unix sockets are refused on Windows, where Node has none', () => {
    expect(() => netOptions(parseAddress('/run/x'), 'win32')).toThrow(
      expect.objectContaining({ code: 'ERR_IPC_UNSUPPORTED' }),
    );
  });

  test.each([
    ['', /Expected `address` to be .*, got ""/],
    ['unix:', /got "unix:"/],
    ['unix:/run/', /got "unix:\/run\/"/],
    ['unix:\0abstract', /Expected `address`/],
    ['shm:name', /got "shm:name"/],
    ['http://localhost', /got "http:/],
    ['tcp:', /got "tcp:"/],
    ['tcp:localhost', /got "tcp:localhost"/],
    ['tcp:localhost:70000', /got "tcp:localhost:70000"/],
    ['tcp:::1:80', /got "tcp:::1:80"/],
    ['tcp:a b:80', /got "tcp:a b:80"/],
    ['pipe:', /"pipe:name"/],
    ['pipe:a\\b', /no backslash/],
    [undefined, /got undefined/],
    [17, /got 17/],
    [{}, /got an object/],
  ])('%j is a TypeError that says what was expected', (address, message) => {
    expect(() => parseAddress(address)).toThrow(TypeError);
    expect(() => parseAddress(address)).toThrow(message);
  });

  test('a path of 107 bytes is the longest, counted in UTF-8', () => {
    expect(parseAddress(`/${'x'.repeat(106)}`).kind).toBe('unix');
    expect(() => parseAddress(`/${'x'.repeat(107)}`)).toThrow(/at most 107 bytes, got 108/);
    expect(() => parseAddress(`/${'ü'.repeat(54)}`)).toThrow(RangeError);
  });

  test("a server's private name must fit as well, and the message shows it", () => {
    const directory = `/${'d'.repeat(95)}`;
    expect(() => createSocketServer(`${directory}/x`)).toThrow(
      /private path beside `address` to have at most 107 bytes/,
    );
    expect(() => createSocketClient(`${directory}/x`)).not.toThrow();
  });

  test('port 0 is for servers', () => {
    expect(() => parseClientAddress('tcp:0')).toThrow(/a port from 1 to 65535/);
    expect(() => createSocketClient('tcp:0')).toThrow(RangeError);
    expect(createSocketServer('tcp:0').address).toBe('tcp:127.0.0.1:0');
  });

  test('mistakes are thrown by the factories, at once', () => {
    expect(() => createSocketServer('nonsense:')).toThrow(TypeError);
    expect(() => createSocketClient('nonsense:')).toThrow(TypeError);
    expect(() => createSocketClient('/x', { framing: 'other' as never })).toThrow(
      /Expected `framing` to be "spanwire" or "plain", got "other"/,
    );
    expect(() => createSocketServer('/x', { windowBytes: 1 })).toThrow(RangeError);
  });

  test('a named pipe is refused when it is used on a platform without them', async () => {
    const server = createSocketServer('pipe:x');
    await expect(server.listen()).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    const client = createSocketClient('pipe:x');
    await expect(client.connect()).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    await server.close();
    await client.close();
  });
});
