/** `npm run demo -- DIR`: reads its options, runs, prints. Spanwire is at work in server.ts, client.ts and hand-out.ts. */
import { findFiles } from './find-files.ts';
import { interruption } from './interruption.ts';
import { readOptions } from './options.ts';
import { showProgress } from './progress.ts';
import { run } from './run.ts';
import { summaryOf, tableOf } from './summary.ts';
import { Tally } from './tally.ts';

// Whoever read the output has gone, as `head` does: there is nobody to work for.
process.stdout.on('error', () => process.exit(1));

const stop = interruption();
const { directory, clients, transport, sums, json } = readOptions(process.argv.slice(2));
const tally = new Tally(clients, sums);

console.log(`looking for files below ${directory}`);
const files = await findFiles(directory, stop, (path, reason) => tally.skip(path, reason));
console.log(`${files.length} files; ${clients} clients over ${transport}`);

let hideProgress = (): void => undefined;
await run(files, transport, tally, stop, (line) => {
  console.log(line);
  hideProgress = showProgress(tally, files.length, stop);
});
hideProgress();

const summary = summaryOf(tally, transport);
console.log(tableOf(tally, summary));
for (const trouble of tally.troubles) console.error(trouble);
if (stop.aborted) console.log(`interrupted: ${summary.files} of ${files.length} files`);
if (json) console.log(JSON.stringify(summary));
process.exitCode = summary.mismatches > 0 || tally.failures > 0 ? 1 : 0;
