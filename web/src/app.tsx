import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

import { KeyDialog } from './access/KeyDialog.tsx';
import { SignIn } from './access/SignIn.tsx';
import { CameraPage } from './cameras/CameraPage.tsx';
import { CamerasPage } from './cameras/CamerasPage.tsx';
import { EventPage } from './event/EventPage.tsx';
import { HomePage } from './home/HomePage.tsx';
import type { Route } from './router/router.ts';
import type { Store } from './store.ts';
import { SystemPage } from './system/SystemPage.tsx';
import { ConnectionNote } from './ui/ConnectionNote.tsx';

const pages: [path: string, label: string, of: Route['page'][]][] = [
  ['', 'Events', ['home', 'event']],
  ['cameras', 'Cameras', ['cameras', 'camera']],
  ['system', 'System', ['system']],
];

/** The whole page. */
export function App({ store }: { store: Store }) {
  const { router } = store;
  const name = store.config.state.value.value?.app_name ?? 'Home Security Intelligence';
  const version = store.config.state.value.value?.version;
  const { page } = router.route.value;
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <div class="top-inner">
          <a class="brand" href={router.link('')} aria-label={name}>
            <img src={router.link('favicon.svg')} alt="" width="28" height="28" />
            <span>{name}</span>
          </a>
          <nav aria-label="Pages">
            <ul>
              {pages.map(([path, label, of]) => (
                <li key={path}>
                  <a href={router.link(path)} aria-current={of.includes(page) ? 'page' : undefined}>
                    {label}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <ConnectionNote live={store.live} heartbeat={store.health} />
        </div>
      </header>
      <Content store={store} />
      <footer class="bottom">
        <p>
          {version !== undefined && <>Version {version} · </>}
          <a href={router.link('docs')}>API documentation</a>
        </p>
        <SignOut store={store} />
      </footer>
      <KeyDialog access={store.access} />
    </>
  );
}

/** The page that the address stands for, with the focus and the scrolling of going there. */
function Content({ store }: { store: Store }) {
  const { access, router } = store;
  const main = useRef<HTMLElement>(null);
  const visit = router.visits.value;
  useLayoutEffect(() => {
    if (visit > 0) router.scrollToKnown();
  }, [router, visit]);
  useEffect(() => {
    // The first page is read from its beginning; of each other one its heading says where one is.
    if (visit > 0) main.current?.focus({ preventScroll: true });
  }, [visit]);
  const entries = access.entries.value;
  useEffect(() => {
    // The form that had the focus is gone: it goes to what stands in its place.
    if (entries > 0 && document.activeElement === document.body)
      main.current?.focus({ preventScroll: true });
  }, [entries]);
  const isPrivate = router.route.value.page !== 'system';
  return (
    <main id="main" ref={main} tabIndex={-1}>
      {isPrivate && access.refusal.value !== undefined ? (
        <SignIn access={access} />
      ) : (
        <Page store={store} />
      )}
    </main>
  );
}

function Page({ store }: { store: Store }) {
  const route = store.router.route.value;
  switch (route.page) {
    case 'home':
      return <HomePage store={store} />;
    case 'event':
      return <EventPage key={route.eventId} store={store} eventId={route.eventId} />;
    case 'cameras':
      return <CamerasPage store={store} />;
    case 'camera':
      return <CameraPage key={route.cameraId} store={store} cameraId={route.cameraId} />;
    case 'system':
      return <SystemPage store={store} />;
    default:
      return (
        <div class="panel">
          <h1>There is no such page</h1>
          <p>
            <a href={store.router.link('')}>See what happened</a>
          </p>
        </div>
      );
  }
}

/** Says that this browser is signed in, and ends that. */
function SignOut({ store }: { store: Store }) {
  const { access } = store;
  if (!access.isSignedIn.value) return null;
  return (
    <p>
      This browser is signed in.{' '}
      <button type="button" class="button is-small" onClick={() => void access.signOut()}>
        Sign out
      </button>
    </p>
  );
}
