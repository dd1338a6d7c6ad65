/** The server of one of Spanwire's transports: `node server.js JOB`. Says its address; ends with whoever started it. */
import type { ReactiveName } from '../links.ts';
import type { Job } from '../workload.ts';
import { attach } from './spanwire-server.ts';
import { loadTransport } from './transports.ts';
import { ringBytesOf, serverOptionsOf } from './workload-options.ts';

const job = JSON.parse(process.argv[2] ?? '') as Job;
const transport = await loadTransport(job.link as ReactiveName);
const { server, address } = transport.createServer(job.place, ringBytesOf(job.workload), serverOptionsOf(job.workload));
attach(server, job.workload);
await server.listen();
process.on('disconnect', () => process.exit());
process.send?.(address());
