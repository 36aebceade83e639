/** Thrown when something that can't be, is. It is never caught to go on: the group that raised it stops. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** States what must hold. Stays on in production. `detail` is shown beside the message, so print both values. */
export function assert(condition: boolean, message: string, detail?: unknown): asserts condition {
  if (!condition) {
    throw new InvariantError(detail === undefined ? message : `${message}: ${describe(detail)}`);
  }
}

/** The branch that no value of a union reaches. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${describe(value)}`);
}

function describe(detail: unknown): string {
  try {
    return JSON.stringify(detail) ?? String(detail);
  } catch {
    return String(detail);
  }
}
