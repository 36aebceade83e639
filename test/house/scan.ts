import { readdirSync, readFileSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { electronFolders, layers, purePackages } from './layers.ts';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Source text by its path from the root, with `/` on every platform. */
export type Sources = ReadonlyMap<string, string>;

/** Reads every TypeScript and Svelte file under the given folders and files of the root. */
export function readSources(...places: readonly string[]): Sources {
  const sources = new Map<string, string>();
  for (const place of places) {
    const isFile = statSync(`${root}/${place}`).isFile();
    const names = isFile ? [''] : readdirSync(`${root}/${place}`, { recursive: true, encoding: 'utf8' });
    for (const name of names) {
      const path = posix.join(place, name.replaceAll('\\', '/'));
      if (/\.(ts|svelte)$/.test(path)) sources.set(path, readFileSync(`${root}/${path}`, 'utf8'));
    }
  }
  return sources;
}

/** The row of the table that a path belongs to. */
export function layerOf(path: string): string | undefined {
  const [top = '', folder = '', file] = path.split('/');
  const layer = top === 'src-renderer' ? top : file === undefined ? '' : `${top}/${folder}`;
  return Object.hasOwn(layers, layer) ? layer : undefined;
}

/** Every module that a file names: imports, re-exports, dynamic imports, types and files loaded by address. */
export function importsOf(path: string, text: string): string[] {
  const code = path.endsWith('.svelte')
    ? Array.from(text.matchAll(/<script[^>]*>(.*?)<\/script>/gs), (script) => script[1]).join('\n')
    : text;
  const modules = ts.preProcessFile(code, true, true).importedFiles.map((file) => file.fileName);
  const addresses = Array.from(code.matchAll(/new URL\(\s*['"](\.[^'"]+)['"],\s*import\.meta\.url/g), (url) => url[1]);
  return [...modules, ...addresses.filter((address) => address !== undefined)];
}

/** What is wrong with a file's imports. `packages` are the names that package.json lists for the running program. */
export function importProblems(path: string, text: string, packages: readonly string[]): string[] {
  const layer = layerOf(path);
  if (layer === undefined) return [`${path}: lies in no folder of the table`];

  const problems: string[] = [];
  const pure = !layer.startsWith('src-main/');
  for (const module of importsOf(path, text)) {
    const say = (why: string) => problems.push(`${path}: ${module}: ${why}`);
    if (module.startsWith('.')) {
      const target = layerOf(posix.join(posix.dirname(path), module));
      if (target === undefined) say('leads out of the sources');
      else if (target !== layer && !layers[layer]?.includes(target)) say(`${layer} may not import ${target}`);
    } else if (module === 'electron' || module.startsWith('electron/')) {
      if (!electronFolders.includes(layer)) say('only the shell knows electron');
    } else if (isBuiltin(module)) {
      if (pure) say(`${layer} runs without Node`);
      else if (!module.startsWith('node:')) say('lacks its node: prefix');
    } else {
      const name = module
        .split('/')
        .slice(0, module.startsWith('@') ? 2 : 1)
        .join('/');
      if (layer.startsWith('shared/') && !purePackages.includes(name)) say('is not among the pure packages');
      if (layer !== 'src-renderer' && !packages.includes(name)) say('is not a dependency of package.json');
    }
  }
  return problems;
}

/** Globals that differ from run to run, machine to machine or platform to platform. */
const impureGlobals = new Set([
  'Buffer',
  'FinalizationRegistry',
  'Intl',
  'WeakRef',
  'clearInterval',
  'clearTimeout',
  'console',
  'crypto',
  'document',
  'fetch',
  'globalThis',
  'navigator',
  'performance',
  'process',
  'queueMicrotask',
  'require',
  'setImmediate',
  'setInterval',
  'setTimeout',
  'window',
]);

/** What makes a shared file depend on more than its input: clocks, chance, the platform, the person's language. */
export function purityProblems(path: string, text: string): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2024, true);
  const declared = declaredNames(file);
  const problems: string[] = [];
  const visit = (node: ts.Node): void => {
    const what = impurity(node, declared);
    if (what !== undefined) {
      const line = file.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      problems.push(`${path}:${line}: ${what}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return problems;
}

function impurity(node: ts.Node, declared: ReadonlySet<string>): string | undefined {
  if (ts.isRegularExpressionLiteral(node) || ts.isStringLiteralLike(node)) {
    return /\\[pP]\{/.test(node.text) ? 'a Unicode class changes with the platform' : undefined;
  }
  if (!ts.isIdentifier(node)) return undefined;

  const name = node.text;
  if (ts.isPropertyAccessExpression(node.parent) && node.parent.name === node) {
    if (name === 'localeCompare' || name.startsWith('toLocale')) return `${name} follows the person's language`;
    const owner = node.parent.expression.getText();
    return owner === 'Math' && name === 'random' ? 'Math.random can not be replayed' : undefined;
  }
  if (isOnlyAName(node) || declared.has(name)) return undefined;
  if (name === 'Date') {
    const use = node.parent;
    const utc = ts.isPropertyAccessExpression(use) && use.name.text === 'UTC';
    return utc ? undefined : 'Date reads the clock or the time zone';
  }
  return impureGlobals.has(name) ? `${name} is not pure` : undefined;
}

/** True for the name of a member, not a use of a variable. */
function isOnlyAName(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAssignment(parent) || ts.isEnumMember(parent)) return parent.name === node;
  if (ts.isBindingElement(parent)) return parent.propertyName === node;
  return ts.isClassElement(parent) || ts.isTypeElement(parent) || ts.isQualifiedName(parent);
}

/** Names that the file gives to its own things: a parameter `crypto` is not the global. */
function declaredNames(file: ts.SourceFile): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    const named =
      ts.isParameter(node) ||
      ts.isVariableDeclaration(node) ||
      ts.isBindingElement(node) ||
      ts.isImportSpecifier(node) ||
      ts.isImportClause(node) ||
      ts.isNamespaceImport(node) ||
      ts.isFunctionDeclaration(node) ||
      ts.isClassDeclaration(node);
    if (named && node.name !== undefined && ts.isIdentifier(node.name)) names.add(node.name.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}

/** The source files that nothing reaches from the entry points. Declaration files are seen by the compiler alone. */
export function unusedFiles(sources: Sources, entries: readonly string[]): string[] {
  const reached = new Set<string>();
  const open = entries.filter((entry) => sources.has(entry));
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    for (const module of importsOf(path, sources.get(path) ?? '')) {
      if (!module.startsWith('.')) continue;
      // A file loaded by address may be named as it is called once built.
      const target = posix.join(posix.dirname(path), module);
      open.push(...[target, target.replace(/\.js$/, '.ts')].filter((each) => sources.has(each)));
    }
  }
  return [...sources.keys()].filter(
    (path) => /^(shared|src-)/.test(path) && !path.endsWith('.d.ts') && !reached.has(path),
  );
}
