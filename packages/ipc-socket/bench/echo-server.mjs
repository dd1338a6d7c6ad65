// @ts-check
/** The servers of echo.mjs: a bare net echo, and Spanwire's. */
import { createServer } from 'node:net';
import { createSocketServer } from '@spanwire/ipc-socket';
import { map } from 'rxjs';

const [kind = '', path = ''] = process.argv.slice(2);
if (kind === 'bare') {
  createServer((socket) => {
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('error', () => {});
  }).listen(path, () => process.send?.('ready'));
} else {
  const server = createSocketServer(path);
  server.requests$
    .pipe(map(({ clientId, requestId, span }) => ({ clientId, requestId, data: span })))
    .subscribe(server.responses);
  await server.listen();
  process.send?.('ready');
}
process.on('disconnect', () => process.exit());
