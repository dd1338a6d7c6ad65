import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { Plot } from './plots.ts';
import { darkStyle } from './theme.ts';

/** The plot as one self-contained SVG, for light and dark. */
export async function renderPlot({ title, spec }: Plot): Promise<string> {
  const view = new View(parse(compile(spec as TopLevelSpec).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  const begin = svg.indexOf('>') + 1;
  return `${svg.slice(0, begin)}<title>${title}</title><style>${darkStyle()}</style>${svg.slice(begin)}\n`;
}
