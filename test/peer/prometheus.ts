/** One sample of Prometheus' text format. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The metrics of one scrape. */
export class Scrape {
  readonly samples: readonly Sample[];
  /** By a metric's name, without what a histogram adds to it. */
  readonly types: ReadonlyMap<string, string>;
  readonly helps: ReadonlyMap<string, string>;

  /** @throws where the text is not well formed, or a sample's metric was not announced */
  constructor(text: string) {
    if (!text.endsWith('\n')) throw new Error('the last line has no end');
    const types = new Map<string, string>();
    const helps = new Map<string, string>();
    const samples: Sample[] = [];
    for (const line of text.split('\n')) {
      const [, kind, about = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
      if (kind === 'TYPE') types.set(about, rest);
      else if (kind === 'HELP') helps.set(about, rest);
      else if (line !== '') samples.push(sampleIn(line));
    }
    for (const { name } of samples) {
      const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
      if (!types.has(family) || !helps.has(family)) throw new Error(`nothing announces ${name}`);
    }
    this.samples = samples;
    this.types = types;
    this.helps = helps;
  }

  /** The value of the one sample with these labels. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const found = this.all(name, labels);
    if (found.length !== 1) throw new Error(`${found.length} samples of ${name} ${JSON.stringify(labels)}`);
    return (found[0] as Sample).value;
  }

  all(name: string, labels: Readonly<Record<string, string>> = {}): readonly Sample[] {
    return this.samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
  }
}

const NAME = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)/gy;

function sampleIn(line: string): Sample {
  const [, name, inside = '', number = ''] = NAME.exec(line) ?? [];
  if (name === undefined) throw new Error(`no sample: ${line}`);
  const found = [...inside.matchAll(LABEL)];
  if (found.reduce((length, [whole]) => length + whole.length, 0) !== inside.length) {
    throw new Error(`no labels: ${inside}`);
  }
  const value = number === '+Inf' ? Number.POSITIVE_INFINITY : Number(number);
  // Prometheus reads it in any case.
  if (Number.isNaN(value) && number?.toLowerCase() !== 'nan') throw new Error(`no number: ${line}`);
  return { name, labels: Object.fromEntries(found.map(([, label, text]) => [label, text])), value };
}
