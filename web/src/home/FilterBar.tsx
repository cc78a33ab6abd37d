import type { Camera, SeverityDefinition } from '@hsi/client';
import { useRef } from 'preact/hooks';

import {
  type Filter,
  everything,
  isFiltering,
  levels,
  objectKinds,
  toggled,
} from '../events/filter.ts';

interface FilterBarProps {
  filter: Filter;
  cameras: readonly Camera[];
  definitions: readonly SeverityDefinition[] | undefined;
  onFilter: (filter: Filter) => void;
}

/** Chooses which events are shown. */
export function FilterBar({ cameras, definitions, filter, onFilter }: FilterBarProps) {
  const summary = useRef<HTMLElement>(null);
  const showEverything = () => {
    summary.current?.focus(); // the button goes
    onFilter(everything);
  };
  const change = (part: Partial<Filter>) => onFilter({ ...filter, ...part });
  const label = (level: string) =>
    definitions?.find(({ severity }) => severity === level)?.label ?? level;
  return (
    <details class="filters" open={isFiltering(filter)}>
      <summary ref={summary}>{isFiltering(filter) ? 'Filters in use' : 'Filters'}</summary>
      <div class="filter-groups">
        <Chips
          legend="Severity"
          items={levels.map((level) => [level, label(level)])}
          chosen={filter.levels}
          onToggle={(level) => change({ levels: toggled(filter.levels, level) })}
        />
        <Chips
          legend="Seen"
          items={objectKinds.map((kind) => [kind, capital(kind)])}
          chosen={filter.objects}
          onToggle={(kind) => change({ objects: toggled(filter.objects, kind) })}
        />
        <Chips
          legend="Camera"
          items={cameras.map(({ id, name }) => [id, name])}
          chosen={filter.cameraIds}
          onToggle={(id) => change({ cameraIds: toggled(filter.cameraIds, id) })}
        />
        <Chips
          legend="Review"
          items={[['unreviewed', 'Not reviewed yet']]}
          chosen={filter.unreviewedOnly ? ['unreviewed'] : []}
          onToggle={() => change({ unreviewedOnly: !filter.unreviewedOnly })}
        />
        {isFiltering(filter) && (
          <button type="button" class="button is-small" onClick={showEverything}>
            Show everything
          </button>
        )}
      </div>
    </details>
  );
}

interface ChipsProps<T> {
  legend: string;
  items: readonly (readonly [value: T, text: string])[];
  chosen: readonly T[];
  onToggle: (value: T) => void;
}

function Chips<T extends string>({ chosen, items, legend, onToggle }: ChipsProps<T>) {
  if (items.length === 0) return null;
  return (
    <fieldset class="chips">
      <legend>{legend}</legend>
      {items.map(([value, text]) => (
        <label key={value} class={chosen.includes(value) ? 'chip is-chosen' : 'chip'}>
          <input
            type="checkbox"
            checked={chosen.includes(value)}
            onChange={() => onToggle(value)}
          />
          {text}
        </label>
      ))}
    </fieldset>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
