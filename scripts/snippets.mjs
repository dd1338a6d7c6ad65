// The code of the READMEs, run as a reader would run it.
//
// A fenced block with the language `js` or `ts` is a program of its own. Blocks that open with a comment naming a file
// (`// server.mjs`) belong together: they are written side by side, all but the last are started in order (each is waited for until it
// prints its first line), the last has to end by itself with exit code 0, and the others get SIGTERM and have to end with 0, too. A `text`
// block directly after a program is what it has to print; a line of `...` in it stands for any lines.
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { root } from './workspace.mjs';

/** @typedef {{ name: string, code: string, prints: string | undefined }} Program */
/** @typedef {{ file: string, line: number, programs: Program[] }} Snippet */

/** The Markdown files whose code is promised to run. */
export function readmes() {
  const found = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md'];
  for (const parent of ['packages', 'apps']) {
    for (const name of readdirSync(join(root, parent))) {
      // A package may run its README by itself, where that takes more than a program at a time.
      const folder = join(root, parent, name);
      if (!existsSync(join(folder, 'test/documentation.test.ts'))) found.push(`${parent}/${name}/README.md`);
    }
  }
  for (const name of readdirSync(join(root, 'docs'))) if (name.endsWith('.md')) found.push(`docs/${name}`);
  return found.filter((file) => statSync(join(root, file), { throwIfNoEntry: false })?.isFile() ?? false);
}

/**
 * The runnable snippets of one Markdown file.
 * @param {string} file relative to the repository
 * @returns {Snippet[]}
 */
export function snippetsOf(file) {
  return parseSnippets(file, readFileSync(join(root, file), 'utf8'));
}

/**
 * @param {string} file
 * @param {string} markdown
 * @returns {Snippet[]}
 */
export function parseSnippets(file, markdown) {
  const lines = markdown.split('\n');
  /** @type {Snippet[]} */
  const snippets = [];
  /** @type {Snippet | undefined} */
  let group;
  /** @type {Program | undefined} */
  let last;
  for (let i = 0; i < lines.length; i++) {
    const opening = /^(\s*)```(\w*)\s*$/.exec(lines[i] ?? '');
    if (opening === null) {
      if ((lines[i] ?? '').startsWith('#')) group = undefined;
      if ((lines[i] ?? '').trim() !== '') last = undefined;
      continue;
    }
    const [, indent = '', language] = opening;
    const begin = i + 1;
    while (++i < lines.length && (lines[i] ?? '').trim() !== '```');
    const code = lines
      .slice(begin, i)
      .map((line) => line.slice(indent.length))
      .join('\n');
    if (language === 'text' && last !== undefined) {
      last.prints = code;
      last = undefined;
      continue;
    }
    if (language !== 'js' && language !== 'ts') continue;
    const name = /^\/\/ ([\w.-]+\.mjs)\b/.exec(code)?.[1];
    const program = { name: name ?? 'snippet.mjs', code, prints: undefined };
    if (name === undefined || group === undefined) {
      const snippet = { file, line: begin, programs: [program] };
      snippets.push(snippet);
      group = name === undefined ? undefined : snippet;
    } else {
      group.programs.push(program);
    }
    last = program;
  }
  return snippets;
}

/**
 * Runs a snippet in a folder of its own; rejects with what it printed when it fails.
 * @param {Snippet} snippet
 * @param {{ watchdogMs: number }} options
 */
export async function runSnippet(snippet, { watchdogMs }) {
  // Below node_modules, so that imports resolve to this repository's packages and nothing is left in the tree.
  const parent = join(root, 'node_modules/.cache/spanwire-snippets');
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, 'snippet-'));
  // Other runs may be under way on this machine, and addresses of the snippets are in the temporary folder. A short name: they are limited.
  const temporary = mkdtempSync(join(tmpdir(), 'sn-'));
  /** @type {Running[]} */
  const running = [];
  try {
    for (const { name, code } of snippet.programs) writeFileSync(join(folder, name), code);
    for (const [index, program] of snippet.programs.entries()) {
      const started = new Running(program, { folder, temporary, watchdogMs });
      running.push(started);
      if (index < snippet.programs.length - 1) await started.firstLine;
      else await started.ended;
    }
    for (const started of running.slice(0, -1)) {
      started.child.kill('SIGTERM');
      await started.ended;
    }
    for (const started of running) started.expectOutput();
  } catch (error) {
    const output = running.map(({ program, output }) => `${program.name} printed:\n${output}`).join('\n');
    throw new Error(`${relative('.', snippet.file)}:${snippet.line} does not run as it stands. ${output}`, {
      cause: error,
    });
  } finally {
    for (const { child } of running) child.kill('SIGKILL');
    await Promise.allSettled(running.map(({ ended }) => ended));
    for (const path of [folder, temporary]) rmSync(path, { recursive: true, force: true });
  }
}

class Running {
  /**
   * @param {Program} program
   * @param {{ folder: string, temporary: string, watchdogMs: number }} options
   */
  constructor(program, { folder, temporary, watchdogMs }) {
    this.program = program;
    this.output = '';
    this.child = spawn(process.execPath, [join(folder, program.name)], {
      cwd: folder,
      env: { ...process.env, TMPDIR: temporary },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout.setEncoding('utf8');
    this.child.stderr.setEncoding('utf8');
    const watchdog = setTimeout(() => this.child.kill('SIGKILL'), watchdogMs);
    let stdout = '';
    /** @type {Promise<void>} */
    this.firstLine = new Promise((resolve, reject) => {
      this.child.stdout.on('data', (/** @type {string} */ text) => {
        stdout += text;
        this.output += text;
        if (stdout.includes('\n')) resolve();
      });
      this.child.on('exit', () => reject(new Error(`${program.name} ended before its first line`)));
    });
    this.firstLine.catch(() => undefined);
    this.child.stderr.on('data', (/** @type {string} */ text) => {
      this.output += text;
    });
    /** @type {Promise<void>} */
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('close', (code, signal) => {
        clearTimeout(watchdog);
        if (code === 0) resolve();
        else reject(new Error(`Expected ${program.name} to end with 0, got ${signal ?? code}`));
      });
    });
    this.ended.catch(() => undefined);
    this.stdout = () => stdout;
  }

  expectOutput() {
    const { prints, name } = this.program;
    if (prints === undefined) return;
    const pattern = prints
      .trim()
      .split('\n')
      .map((line) => (line.trim() === '...' ? '[^]*' : line.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)))
      .join('\n');
    if (!new RegExp(`^${pattern}$`).test(this.stdout().trim())) {
      throw new Error(`Expected ${name} to print what the block after it shows`);
    }
  }
}
