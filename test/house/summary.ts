/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName?: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly ok: boolean;
  readonly notes: readonly string[];
}

/**
 * Counts a report. What vitest does not count as a failed test is one here: a file that could not be loaded,
 * a run that ended badly for another reason (an unhandled error), a missing report, and no tests at all.
 */
export function summarise(report: unknown, exitCode: number | null): Summary {
  if (!isReport(report)) return { passed: 0, failed: 1, ok: false, notes: ['vitest left no report'] };

  const notes: string[] = [];
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const passed = tests.filter((test) => test.status === 'passed').length;
  let failed = tests.filter((test) => test.status === 'failed').length;

  for (const file of report.testResults) {
    if (file.status !== 'failed' || file.assertionResults.some((test) => test.status === 'failed')) continue;
    failed += 1;
    notes.push(`could not be run: ${file.name}`);
  }
  if (failed === 0 && exitCode !== 0) {
    failed = 1;
    notes.push(`vitest ended with ${exitCode ?? 'a signal'} although no test failed`);
  }
  if (passed + failed === 0) notes.push('no test ran');

  // Whoever needed a second try is named, and why: it passed, and somebody has to look at it.
  for (const { status, fullName, failureMessages = [] } of tests) {
    const [why] = failureMessages;
    if (status === 'passed' && why !== undefined)
      notes.push(`at the second try: ${fullName}\n  ${why.split('\n', 1)[0]}`);
  }

  const skipped = tests.length - tests.filter((test) => test.status === 'passed' || test.status === 'failed').length;
  if (skipped > 0) notes.push(`${skipped} skipped`);
  return { passed, failed, ok: failed === 0 && passed > 0, notes };
}

function isReport(report: unknown): report is Report {
  return typeof report === 'object' && report !== null && 'testResults' in report && Array.isArray(report.testResults);
}
