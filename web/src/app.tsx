import { HealthPanel } from './health/HealthPanel.tsx';
import { VerdictBanner } from './health/VerdictBanner.tsx';
import { SeverityPanel } from './severity/SeverityPanel.tsx';
import type { Store } from './store.ts';
import { ConnectionNote } from './ui/ConnectionNote.tsx';

const sections: [id: string, label: string][] = [
  ['health', 'Health'],
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
          <SeverityPanel store={store} />
        </div>
      </main>
      <footer class="bottom">
        <p>
          {version !== undefined && <>Version {version} · </>}
          <a href="docs">API documentation</a>
        </p>
      </footer>
    </>
  );
}
