import { type Problem, detailOf, toProblem } from '../live/problem.ts';
import { NoKeyError } from './access.ts';

/** How a write ended without doing what it should. */
export function failureOf(error: unknown): string {
  if (error instanceof NoKeyError) return 'Nothing was changed: no API key was given.';
  const problem: Problem = toProblem(error);
  return problem.kind === 'unreachable'
    ? `${problem.text} It may have been carried out nevertheless.`
    : problem.text;
}

/** What a server's refusal says. */
export function refusalOf(status: number, body: unknown): string {
  return detailOf(body) ?? `The server answered with status ${status}.`;
}
