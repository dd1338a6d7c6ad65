import { describe, expect, it } from 'vitest';
import { parseSnippets, readmes, runSnippet, snippetsOf } from '../snippets.mjs';

/** Below the limit of a test, so that what was printed until then is seen. */
const watchdogMs = 200_000;

for (const file of readmes()) {
  const snippets = snippetsOf(file);
  if (snippets.length === 0) continue;
  describe(`the code in ${file}`, () => {
    for (const snippet of snippets) {
      it(`runs as it stands at line ${snippet.line}`, () => runSnippet(snippet, { watchdogMs }));
    }
  });
}

describe('the snippet runner', () => {
  const fence = '```';

  it('takes programs that name their files as one snippet, and the text after a program as what it prints', () => {
    const markdown = `
${fence}js
// server.mjs
console.log('up');
${fence}

${fence}js
// client.mjs
console.log('hi');
${fence}

${fence}text
hi
${fence}

${fence}sh
rm -rf elsewhere
${fence}

# Next

${fence}ts
console.log(1);
${fence}
`;
    const found = parseSnippets('X.md', markdown);
    expect(found.map(({ programs }) => programs.map(({ name, prints }) => [name, prints]))).toEqual([
      [
        ['server.mjs', undefined],
        ['client.mjs', 'hi'],
      ],
      [['snippet.mjs', undefined]],
    ]);
  });

  it('fails for a program that prints something else than the text after it', async () => {
    const [snippet] = parseSnippets('X.md', `${fence}js\nconsole.log('one');\n${fence}\n${fence}text\ntwo\n${fence}\n`);
    await expect(runSnippet(snippet!, { watchdogMs })).rejects.toThrow('does not run as it stands');
  });

  it('fails for a program that throws', async () => {
    const [snippet] = parseSnippets('X.md', `${fence}ts\nthrow new Error('no');\n${fence}\n`);
    await expect(runSnippet(snippet!, { watchdogMs })).rejects.toThrow('Error: no');
  });
});
