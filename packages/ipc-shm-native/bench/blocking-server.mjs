// The server of blocking.mjs: echoes until it is killed.
import { createShmServer } from '@spanwire/ipc-shm-native';

createShmServer(process.argv[2] ?? '').runSync((_clientId, request) => request);
