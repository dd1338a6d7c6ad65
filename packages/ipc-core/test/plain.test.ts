import { createClient, createServer } from '../src/index.ts';
import { describeTransport } from '../src/testing/index.ts';
import { PlainPlace } from './support/plain-memory.ts';

describeTransport('plain framing in memory', {
  framing: 'plain',
  open: () => {
    const place = new PlainPlace();
    return {
      createServer: (options) => createServer(place.makeListener, options),
      createClient: (options) => createClient(place.makeConnect, options),
      connect: place.makeConnect,
    };
  },
});
