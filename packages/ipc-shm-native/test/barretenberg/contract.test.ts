import { IpcError, type Channel, type IpcClient, type MakeConnect } from '@spanwire/ipc-core';
import { describeTransport, type AddressUnderTest } from '@spanwire/ipc-core/testing';
import { getCurrentTest } from 'vitest/suite';
import { createShmClient, createShmServer, shmConnect } from '../../src/index.ts';
import { expectNoNamesInTheEnd, freeName } from './support/names.ts';

expectNoNamesInTheEnd();

/**
 * The contract is that of transports with any number of clients and messages of any size. A test of it that needs a second client at the
 * same time, or a message that no half of a ring takes, is skipped where that shows, and only there.
 */
function openAddress(): AddressUnderTest {
  const name = freeName();
  /** Clients that are connected, or connect. */
  let present = 0;
  const skip = (why: string): void => getCurrentTest()?.context.skip(`this layout has ${why}`);
  const counting = async <T>(opening: Promise<T>): Promise<T> => {
    present++;
    try {
      return await opening;
    } catch (error) {
      present--;
      if (error instanceof IpcError && error.code === 'ERR_IPC_OVERLOADED' && present > 0) skip('one client');
      throw error;
    }
  };

  const watchClient = (client: IpcClient): IpcClient => {
    const connect = client.connect.bind(client);
    let counted = false;
    client.connect = async () => {
      if (counted) return connect();
      counted = true;
      await counting(connect());
      client.state$.subscribe({ complete: () => present-- });
    };
    const request = client.request.bind(client);
    client.request = (data, options) => {
      if (data.length >= 1_000_000) skip('no fragments');
      const answer = request(data, options);
      // Those of a test that is skipped half-way are awaited by nobody.
      answer.catch(() => undefined);
      return answer;
    };
    return client;
  };

  const watchChannel = (channel: Channel): Channel => {
    const close = channel.close.bind(channel);
    let counted = true;
    channel.close = (reason) => {
      if (counted) present--;
      counted = false;
      return close(reason);
    };
    return channel;
  };

  const connect: MakeConnect = (context) => {
    const open = shmConnect(name, { layout: 'barretenberg' })(context);
    return (signal) => counting(open(signal)).then(watchChannel);
  };
  return {
    createServer: (options) => createShmServer(name, { ...options, layout: 'barretenberg' }),
    createClient: (options) => watchClient(createShmClient(name, { ...options, layout: 'barretenberg' })),
    connect,
  };
}

describeTransport('shared memory, barretenberg layout', { framing: 'plain', knowsPeers: true, open: openAddress });
