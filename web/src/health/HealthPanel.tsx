import type { Store } from '../store.ts';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { LevelIcon } from '../ui/Icon.tsx';
import { Panel } from '../ui/Panel.tsx';
import { type Row, verdictOf } from './verdict.ts';

/** Each service and worker, what it says, and what to do. */
export function HealthPanel({ store }: { store: Store }) {
  return (
    <Panel id="health" title="Health" wide aside={<Age live={store.live} source={store.health} />}>
      <Fresh live={store.live} source={store.health}>
        {(answer) => {
          const { services, workers } = verdictOf(answer);
          return (
            <div class="columns">
              <Rows title="Services" rows={services} />
              <Rows title="Workers" rows={workers} />
            </div>
          );
        }}
      </Fresh>
    </Panel>
  );
}

function Rows({ title, rows }: { title: string; rows: Row[] }) {
  return (
    <div>
      <h3>{title}</h3>
      <ul class="rows">
        {rows.map((row) => (
          <li key={row.key} class="row">
            <LevelIcon level={row.level} />
            <div class="row-text">
              <p class="row-name">
                {row.name}
                {row.message !== '' && <span class="row-message">{row.message}</span>}
              </p>
              {row.details.length > 0 && (
                <p class="row-details">
                  {row.details
                    .map(([name, value]) => `${name.replaceAll('_', ' ')}: ${value}`)
                    .join(' · ')}
                </p>
              )}
              {row.advice !== undefined && <p class="row-advice">{row.advice}</p>}
            </div>
            <span class={`word level-${row.level}`}>{row.word}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
