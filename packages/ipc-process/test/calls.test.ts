/** What a call can carry, and what comes back. */
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { IpcError, RemoteError } from '@spanwire/ipc-core';
import { RpcTarget, type RemoteInit } from '@spanwire/ipc-process';
import { NotFoundError, type Service } from './fixtures/service.mjs';
import { fixture, rejection, startServer, temporaryFolder, testIpc } from './support.ts';

function spawnService(): Promise<RemoteInit<Service>> {
  return testIpc({ errors: [NotFoundError] }).spawnProcess<Service>(fixture('worker.mjs'));
}

test('values arrive as they were sent: null, bytes, dates, numbers that JSON has no word for, and nested ones', async () => {
  const service = await spawnService();
  const values = [
    null,
    undefined,
    true,
    -1.5,
    2 ** 53,
    NaN,
    -Infinity,
    12345678901234567890n,
    '',
    'grüße 🚀',
    new Date(86_400_000),
    Uint8Array.of(0, 255),
    new Float64Array([1.5, -2]),
    [],
    ['error', 'looks like', 'an error'],
    {},
    { list: [[[1]]], 'a key': { deep: null } },
  ];
  expect(await service.echo(values)).toEqual(values);
  for (const value of values) expect(await service.echo(value)).toEqual(value);
  expect(await service.echo(null)).toBeNull();
});

test('bytes arrive as a plain Uint8Array with memory of its own', async () => {
  const service = await spawnService();
  const bytes = (await service.echo(Buffer.from('abc'))) as Uint8Array;
  expect(bytes.constructor).toBe(Uint8Array);
  expect(bytes.buffer.byteLength).toBe(3);
  expect(Buffer.from(bytes).toString()).toBe('abc');
});

test('a message much larger than the window arrives whole', async () => {
  const service = await spawnService();
  const bytes = new Uint8Array(9_000_001).map((_, i) => i % 251);
  const echoed = (await service.echo(bytes)) as Uint8Array;
  expect(Buffer.from(echoed).equals(bytes)).toBe(true);
});

test('large and small messages in both directions at once keep their order', async () => {
  const service = await spawnService();
  const sizes = [3_000_000, 1, 2_000_000, 10, 100_000, 0, 1_500_000];
  const answers = await Promise.all(sizes.map((size) => service.echo(new Uint8Array(size))));
  expect(answers.map((bytes) => (bytes as Uint8Array).byteLength)).toEqual(sizes);
});

test('objects passed by reference become proxies on the other side, over the same connection', async () => {
  const service = await spawnService();
  const before = await service.sockets();
  const counter = await service.counter(40);
  expect(await counter.increment()).toBe(41);
  expect(await counter.value).toBe(41);
  expect(await service.incrementFor(counter, 1)).toBe(42);
  const { list, note } = await service.counters();
  expect(note).toBe('two');
  expect(await Promise.all(list.map((each) => each.increment(10)))).toEqual([11, 12]);
  expect(await service.sockets()).toEqual(before);
});

test('two who ask for one shared object get the same object', async () => {
  const service = await spawnService();
  const [one, other] = await Promise.all([service.shared(), service.shared()]);
  await one.increment(5);
  expect(await other.increment(5)).toBe(110);
});

test('a call on the result of a call needs no waiting in between', async () => {
  const service = await spawnService();
  expect(await service.counter(1).increment(1)).toBe(2);
  expect(await service.add(service.add(1, 2), 3)).toBe(6);
});

test('functions passed as arguments can be called on the other side', async () => {
  const service = await spawnService();
  expect(await service.callMe((value) => value * 2, 21)).toBe(43);
});

test('a callback that calls back, which calls back, does not deadlock', async () => {
  const service = await spawnService();
  const callback = async (depth: number): Promise<number> => await service.bounce(callback, depth);
  expect(await service.bounce(callback, 50)).toBe(50);
});

test('a callback that was kept can be called later, by calls of others', async () => {
  const service = await spawnService();
  let called = 0;
  await service.keep(() => ++called);
  expect(await service.callKept()).toBe(1);
  expect(await service.callKept()).toBe(2);
});

test('an object of this process is called through the proxy that the other side got of it', async () => {
  class Ledger extends RpcTarget {
    sum = 0;
    increment(by: number): number {
      return (this.sum += by);
    }
  }
  const service = await spawnService();
  const ledger = new Ledger();
  expect(await service.incrementFor(ledger as unknown as { increment(by: number): Promise<number> }, 7)).toBe(7);
  expect(ledger.sum).toBe(7);
});

test('an object that comes back to the process where it lives works there', async () => {
  class Ledger extends RpcTarget {
    double(value: number): number {
      return value * 2;
    }
  }
  const service = await spawnService();
  const back = (await service.relay(new Ledger())) as { double(value: number): Promise<number> };
  expect(await back.double(4)).toBe(8);
});

test('calls of one caller start in the order in which they were made, however long they take', async () => {
  const service = await spawnService();
  const lines = Array.from({ length: 50 }, (_, i) => String(i));
  await Promise.all(lines.map((line, i) => service.append(line, 50 - i)));
  expect(await service.log()).toEqual(lines);
});

test('a declared error arrives as that class, with its properties and its cause', async () => {
  const service = await spawnService();
  const error = await rejection(service.fail('declared'));
  expect(error).toBeInstanceOf(NotFoundError);
  const { name, message, path, at, cause, stack } = error as NotFoundError;
  expect({ name, message, path, at }).toEqual({
    name: 'NotFoundError',
    message: 'no such file',
    path: '/x',
    at: new Date(1234),
  });
  expect(cause).toBeInstanceOf(NotFoundError);
  expect((cause as NotFoundError).path).toBe('/y');
  expect(stack).not.toContain('service.mjs');
});

test('any other error arrives as a RemoteError with its name, message and code', async () => {
  const service = await spawnService();
  const undeclared = await rejection(service.fail('undeclared'));
  expect(undeclared).toBeInstanceOf(RemoteError);
  expect((undeclared as RemoteError).remote).toEqual({
    name: 'UndeclaredError',
    message: 'out of luck',
    code: 'E_UNDECLARED',
  });
  const builtIn = await rejection(service.fail('built-in'));
  expect((builtIn as RemoteError).remote).toEqual({ name: 'TypeError', message: 'wrong type', code: undefined });
  expect(builtIn).not.toBeInstanceOf(TypeError);
  expect(await rejection(service.fail('text'))).toBe('just text');
});

test('an error class that only one side declared arrives as a RemoteError', async () => {
  const service = await testIpc().spawnProcess<Service>(fixture('worker.mjs'));
  const error = await rejection(service.fail('declared'));
  expect((error as RemoteError).remote).toEqual({ name: 'NotFoundError', message: 'no such file', code: undefined });
});

test('errors are values, too: as arguments and inside of results', async () => {
  const service = await spawnService();
  const sent = new NotFoundError('here', { path: '/a', at: new Date(5) });
  const { list } = (await service.echo({ list: [sent, new RangeError('far')] })) as { list: Error[] };
  expect(list[0]).toBeInstanceOf(NotFoundError);
  expect(list[0]).toMatchObject({ message: 'here', path: '/a', at: new Date(5) });
  expect(list[1]).toBeInstanceOf(RemoteError);
});

test('a method that does not exist fails that call, and only that', async () => {
  const service = await spawnService();
  const unknown = service as unknown as { missing(): Promise<void> };
  const error = await rejection(unknown.missing());
  expect((error as RemoteError).remote.name).toBe('TypeError');
  expect(await service.add(1, 1)).toBe(2);
});

test('own properties of an object are out of reach; methods and getters are not', async () => {
  const service = await spawnService();
  const counter = await service.counter(1);
  expect(await counter.value).toBe(1);
  const error = await rejection((service as unknown as { secret: Promise<string> }).secret);
  expect(error).toBeInstanceOf(RemoteError);
});

test('a Map is refused: as an argument at once, as a result by failing the call', async () => {
  const service = await spawnService();
  expect(() => service.echo(new Map())).toThrow(TypeError);
  const error = await rejection(service.fail('map'));
  expect((error as RemoteError).remote.name).toBe('TypeError');
  expect(await service.add(1, 1)).toBe(2);
});

test('a call or an answer over maxMessageBytes fails alone, with ERR_IPC_MESSAGE_TOO_LARGE', async () => {
  const ipc = testIpc({ maxMessageBytes: 100_000 });
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  const before = service.add(1, 2);
  const call = rejection(service.echo(new Uint8Array(100_000)));
  const answer = rejection(service.produceBytes(100_000));
  const after = service.add(3, 4);
  for (const error of [await call, await answer]) {
    expect(error).toBeInstanceOf(IpcError);
    expect(error).toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE', maxMessageBytes: 100_000 });
  }
  expect(await Promise.all([before, after])).toEqual([3, 7]);
  expect(((await service.echo(new Uint8Array(99_000))) as Uint8Array).byteLength).toBe(99_000);
});

test('an object is disposed in its process when its last proxy is', async () => {
  const service = await spawnService();
  const counter = await service.counter(1);
  const same = counter.dup();
  counter[Symbol.dispose]();
  expect(await service.disposals()).toBe(0);
  same[Symbol.dispose]();
  expect(await service.disposals()).toBe(1);
});

test('an object whose disposer throws harms neither side: its process logs it', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { stderr: 'pipe' });
  const logged = text(ipc.processOf(service).stderr!);
  const grumpy = await service.grumpy();
  grumpy[Symbol.dispose]();
  expect(await service.add(1, 1)).toBe(2);
  await service[Symbol.asyncDispose]();
  expect(await logged).toContain('[SPANWIRE_IPC] Warning: Disposing an object for another process failed');
});

test('proxies of a second connection can be given to the first, which calls through this process', async () => {
  const dataDir = temporaryFolder();
  const server = await startServer('unix', dataDir);
  const ipc = testIpc({ dataDir });
  const remote = await ipc.connectAddress<Service>('unix');
  const worker = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  const counter = await remote!.counter(5);
  expect(await worker.incrementFor(counter, 5)).toBe(10);
  expect(await remote!.pid()).toBe(server.pid);
});
