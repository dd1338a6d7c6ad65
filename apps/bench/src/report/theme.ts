/** Colours that have a light and a dark form. One SVG has both: it follows whoever looks at it. */

interface Colour {
  readonly light: string;
  readonly dark: string;
}

export const foreground: Colour = { light: '#1f2328', dark: '#f0f6fc' };
export const muted: Colour = { light: '#59636e', dark: '#9198a1' };
export const gridLine: Colour = { light: '#d8dee4', dark: '#3d444d' };

/** Spanwire is blue and green; what one would use instead is not. */
const linkColours: Readonly<Record<string, Colour>> = {
  shm: { light: '#0969da', dark: '#4493f8' },
  'shm-blocking': { light: '#0a3a82', dark: '#9ecbff' },
  unix: { light: '#1a7f37', dark: '#3fb950' },
  tcp: { light: '#1b7c83', dark: '#39c5cf' },
  memory: { light: '#6639ba', dark: '#ab7df8' },
  net: { light: '#bc4c00', dark: '#f0883e' },
  'net-batched': { light: '#9a6700', dark: '#d8b13a' },
  'child-process-json': { light: '#cf222e', dark: '#ff7b72' },
  'child-process-advanced': { light: '#82071e', dark: '#ffc1ba' },
  'message-port': { light: '#bf3989', dark: '#f778ba' },
  // The limit, as the text is.
  'bare-rings': foreground,
  'barretenberg-spanwire': { light: '#0550ae', dark: '#79c0ff' },
  'barretenberg-published': { light: '#953800', dark: '#ffa657' },
  zeromq: { light: '#6e7781', dark: '#b1bac4' },
};

const otherLink: Colour = { light: '#57606a', dark: '#c9d1d9' };

/** The colour of a transport or peer. Its light form is what plots are drawn in. */
export function colourOf(link: string): string {
  return (linkColours[link] ?? otherLink).light;
}

/** Style for a plot that was drawn in light colours. Presentation attributes give way to any rule. */
export function darkStyle(): string {
  const rules = [foreground, muted, gridLine, otherLink, ...Object.values(linkColours)].map(
    ({ light, dark }) => `[fill="${light}"]{fill:${dark}}[stroke="${light}"]{stroke:${dark}}`,
  );
  return `@media (prefers-color-scheme:dark){${rules.join('')}}`;
}
