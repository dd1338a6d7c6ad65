import { createShmServer } from '@spanwire/ipc-shm-native';
import { map } from 'rxjs';

const server = createShmServer(process.argv[2] ?? '');
process.once('SIGTERM', () => server.requestShutdown());
server.requests$
  .pipe(map(({ clientId, requestId, span }) => ({ clientId, requestId, data: span })))
  .subscribe(server.responses);
await server.listen();
process.stdout.write('listening\n');
await server.closed;
