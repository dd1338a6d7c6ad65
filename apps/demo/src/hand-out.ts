/** The file server: gives each client one file after the other, and takes the reports. */
import type { IpcServer } from '@spanwire/ipc-core';
import { serve } from '@spanwire/ipc-rx';
import type { Path } from './find-files.ts';
import { NOTHING, textOf, type Report } from './protocol.ts';
import type { Share, Tally } from './tally.ts';

/** What one connected client does. */
interface Worker {
  readonly share: Share;
  inHand: Path | undefined;
}

/** Hands out `files` until there are no more, or `stop` aborts; what is in hand then is still finished. */
export function handOut(server: IpcServer, files: readonly Path[], tally: Tally, stop: AbortSignal): void {
  const workers = new Map<number, Worker>();
  const queue = files.values();

  server.clients$.subscribe((event) => {
    if (event.type === 'connected') {
      const share = tally.shares[Number(textOf(event.hello ?? NOTHING)) - 1];
      if (share !== undefined) workers.set(event.clientId, { share, inHand: undefined });
      return;
    }
    const { share, inHand } = workers.get(event.clientId) ?? {};
    if (share !== undefined && inHand !== undefined) {
      tally.add(share, inHand, { error: 'its client left in the middle of it' });
    }
    workers.delete(event.clientId);
  });

  server.messages$.subscribe(({ clientId, data }) => {
    const worker = workers.get(clientId);
    if (worker !== undefined) worker.share.bytesInHand = Number(textOf(data));
  });

  serve(server, (clientId, message) => {
    const worker = workers.get(clientId);
    if (worker === undefined) throw new TypeError('Expected a client that says its number in its hello');
    tally.begin();
    if (worker.inHand !== undefined) tally.add(worker.share, worker.inHand, JSON.parse(textOf(message)) as Report);
    worker.inHand = stop.aborted ? undefined : queue.next().value;
    return worker.inHand ?? NOTHING;
  });
}
