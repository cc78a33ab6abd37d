import './styles/tokens.css';
import './styles/base.css';
import './styles/layout.css';
import './styles/parts.css';
import './styles/seen.css';
import './styles/cameras.css';
import './styles/event.css';

import { render } from 'preact';

import type { Memory } from './access/access.ts';
import { App } from './app.tsx';
import { createStore } from './store.ts';

const place = document.getElementById('app');
if (place === null) throw new Error('the page has no place for the dashboard');

// The page may be served below a path, and its own address may lie deeper: the server says where
// its root is, seen from there.
const root = document.querySelector<HTMLMetaElement>('meta[name=root]')?.content ?? './';
for (const icon of document.querySelectorAll<HTMLLinkElement>('link[rel=icon]')) {
  icon.href = new URL(icon.href).href; // the page's own address is going to change
}
const store = createStore(new URL(root, location.href).href, { window, memory: memoryOf(window) });
place.replaceChildren();
render(<App store={store} />, place);
store.run();

/** The browser's memory, unless its settings keep it shut. */
function memoryOf(browser: Window): Memory | undefined {
  try {
    return browser.localStorage;
  } catch {
    return undefined;
  }
}
