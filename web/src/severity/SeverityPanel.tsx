import type { SeverityDefinition } from '@hsi/client';

import type { Store } from '../store.ts';
import { Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';

/** What the risk scores mean, with the names, colours and ranges that the server works with. */
export function SeverityPanel({ store }: { store: Store }) {
  return (
    <Panel
      id="severity"
      title="Severity"
      lead="How the risk score of an event, 0 to 100, is named."
    >
      <Fresh live={store.live} source={store.severity}>
        {({ definitions }) => (
          <>
            <Scale definitions={definitions} />
            <ul class="legend">
              {definitions.toReversed().map((level) => (
                <li key={level.severity}>
                  <span
                    class="swatch"
                    style={{ backgroundColor: level.color }}
                    aria-hidden="true"
                  />
                  <span class="legend-name">{level.label}</span>
                  <span class="legend-range">
                    {level.min_score}–{level.max_score}
                  </span>
                  <span class="legend-text">{level.description}</span>
                </li>
              ))}
            </ul>
          </>
        )}
      </Fresh>
    </Panel>
  );
}

/** The scores from 0 to 100 as one bar, each level as wide as its range. */
function Scale({ definitions }: { definitions: SeverityDefinition[] }) {
  return (
    <div class="scale" aria-hidden="true">
      {definitions.map((level) => (
        <span
          key={level.severity}
          style={{ backgroundColor: level.color, flexGrow: level.max_score - level.min_score + 1 }}
        />
      ))}
    </div>
  );
}
