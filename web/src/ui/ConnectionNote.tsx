import { formatAge } from '../format.ts';
import type { Live } from '../live/live.ts';
import type { Poller } from '../live/poller.ts';
import { LevelIcon } from './Icon.tsx';

/** Says in the page's head whether it is current. */
export function ConnectionNote({ live, heartbeat }: { live: Live; heartbeat: Poller<unknown> }) {
  const connection = live.connection.value;
  const { receivedAtMs } = heartbeat.state.value;
  const age =
    receivedAtMs === undefined ? '' : formatAge(Math.max(0, live.nowMs.value - receivedAtMs));
  if (connection.state === 'lost') {
    return (
      <p class="connection is-lost">
        <LevelIcon level="down" /> No connection
      </p>
    );
  }
  if (connection.state === 'connecting') return <p class="connection">Connecting…</p>;
  return (
    <p class="connection">
      <span class="pulse" aria-hidden="true" /> Live · {age}
    </p>
  );
}
