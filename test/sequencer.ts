import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { LONGEST } from './longest.ts';

/** The longest first, in every run alike, whatever an earlier one took. */
export class LongestFirst extends BaseSequencer {
  override async sort(specs: TestSpecification[]): Promise<TestSpecification[]> {
    const keyOf = ({ project, moduleId }: TestSpecification) => {
      const path = relative(this.ctx.config.root, moduleId).replaceAll('\\', '/');
      const at = LONGEST.indexOf(path);
      return { group: project.config.sequence.groupOrder, place: at < 0 ? LONGEST.length : at, path };
    };
    const keyed = specs.map((spec) => ({ spec, ...keyOf(spec) }));
    keyed.sort((a, b) => a.group - b.group || a.place - b.place || (a.path < b.path ? -1 : 1));
    return keyed.map(({ spec }) => spec);
  }
}
