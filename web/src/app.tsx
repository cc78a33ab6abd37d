import { DeadLettersPanel } from './dead-letters/DeadLettersPanel.tsx';
import { GpuPanel } from './gpu/GpuPanel.tsx';
import { HealthPanel } from './health/HealthPanel.tsx';
import { VerdictBanner } from './health/VerdictBanner.tsx';
import { PipelinePanel } from './pipeline/PipelinePanel.tsx';
import { SettingsPanel } from './settings/SettingsPanel.tsx';
import { SeverityPanel } from './severity/SeverityPanel.tsx';
import type { Store } from './store.ts';
import { StoragePanel } from './storage/StoragePanel.tsx';
import { ConnectionNote } from './ui/ConnectionNote.tsx';
import { KeyDialog } from './write/KeyDialog.tsx';
import type { Writer } from './write/writer.ts';

const sections: [id: string, label: string][] = [
  ['health', 'Health'],
  ['pipeline', 'Pipeline'],
  ['gpu', 'GPU'],
  ['storage', 'Storage'],
  ['given-up', 'Given up'],
  ['settings', 'Configuration'],
  ['severity', 'Severity'],
];

/** The whole page. */
export function App({ store }: { store: Store }) {
  const name = store.config.state.value.value?.app_name ?? 'Home Security Intelligence';
  const version = store.config.state.value.value?.version;
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <div class="top-inner">
          <p class="brand">
            <img src="./favicon.svg" alt="" width="28" height="28" />
            {name}
          </p>
          <nav aria-label="Sections">
            <ul>
              {sections.map(([id, label]) => (
                <li key={id}>
                  <a href={`#${id}`}>{label}</a>
                </li>
              ))}
            </ul>
          </nav>
          <ConnectionNote live={store.live} heartbeat={store.health} />
        </div>
      </header>
      <main id="main">
        <h1 class="visually-hidden">{name}</h1>
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
      </main>
      <footer class="bottom">
        <p>
          {version !== undefined && <>Version {version} · </>}
          <a href="docs">API documentation</a>
        </p>
        <KeyNote writer={store.writer} />
      </footer>
      <KeyDialog writer={store.writer} />
    </>
  );
}

/** Says that a key is kept, and lets it be forgotten. */
function KeyNote({ writer }: { writer: Writer }) {
  if (writer.key.value === undefined) return null;
  return (
    <p>
      An API key is kept until this page is closed.{' '}
      <button type="button" class="button is-small" onClick={() => writer.forget()}>
        Forget it
      </button>
    </p>
  );
}
