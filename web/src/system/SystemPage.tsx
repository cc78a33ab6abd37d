import { DeadLettersPanel } from '../dead-letters/DeadLettersPanel.tsx';
import { GpuPanel } from '../gpu/GpuPanel.tsx';
import { HealthPanel } from '../health/HealthPanel.tsx';
import { VerdictBanner } from '../health/VerdictBanner.tsx';
import { PipelinePanel } from '../pipeline/PipelinePanel.tsx';
import { SettingsPanel } from '../settings/SettingsPanel.tsx';
import { SeverityPanel } from '../severity/SeverityPanel.tsx';
import { StoragePanel } from '../storage/StoragePanel.tsx';
import type { Store } from '../store.ts';

const sections: [id: string, label: string][] = [
  ['health', 'Health'],
  ['pipeline', 'Pipeline'],
  ['gpu', 'GPU'],
  ['storage', 'Storage'],
  ['given-up', 'Given up'],
  ['settings', 'Configuration'],
  ['severity', 'Severity'],
];

/** How the server itself is doing. */
export function SystemPage({ store }: { store: Store }) {
  return (
    <>
      <h1 class="visually-hidden">System</h1>
      <nav class="sections" aria-label="Sections">
        <ul>
          {sections.map(([id, label]) => (
            <li key={id}>
              <a href={`#${id}`}>{label}</a>
            </li>
          ))}
        </ul>
      </nav>
      <VerdictBanner store={store} />
      <div class="panels">
        <HealthPanel store={store} />
        <PipelinePanel store={store} />
        <GpuPanel store={store} />
        <div class="stack">
          <StoragePanel store={store} />
          <DeadLettersPanel store={store} />
        </div>
        <div class="stack">
          <SettingsPanel store={store} />
          <SeverityPanel store={store} />
        </div>
      </div>
    </>
  );
}
