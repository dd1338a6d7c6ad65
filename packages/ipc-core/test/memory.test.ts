import { createMemoryClient, createMemoryServer, memoryConnect } from '../src/index.ts';
import { describeTransport } from '../src/testing/index.ts';

let addresses = 0;

describeTransport('memory', {
  framing: 'spanwire',
  knowsPeers: true,
  open: () => {
    const name = `contract-${++addresses}`;
    return {
      createServer: (options) => createMemoryServer(name, options),
      createClient: (options) => createMemoryClient(name, options),
      connect: memoryConnect(name),
    };
  },
});
