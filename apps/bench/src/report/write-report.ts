import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchResult } from '../result.ts';
import { markdownOf } from './markdown.ts';
import { pageOf, type DrawnPlot } from './page.ts';
import { plotsOf } from './plots.ts';
import { renderPlot } from './render.ts';

/** Writes `index.html`, each plot as an SVG of its own, and the targets as `targets.md` into `folder`, which is made where it is missing. */
export async function writeReport(folder: string, result: BenchResult): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const plots: DrawnPlot[] = [];
  for (const plot of plotsOf(result)) plots.push({ ...plot, svg: await renderPlot(plot) });
  for (const { name, svg } of plots) writeFileSync(join(folder, `${name}.svg`), svg);
  writeFileSync(join(folder, 'targets.md'), markdownOf(result));
  writeFileSync(join(folder, 'index.html'), pageOf(result, plots));
}
