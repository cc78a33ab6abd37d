import './styles/tokens.css';
import './styles/base.css';
import './styles/layout.css';
import './styles/parts.css';

import { render } from 'preact';

import { App } from './app.tsx';
import { createStore } from './store.ts';

const place = document.getElementById('app');
if (place === null) throw new Error('the page has no place for the dashboard');

// The page may be served below a path: everything is asked for beside it.
const store = createStore(new URL('.', document.baseURI).href);
place.replaceChildren();
render(<App store={store} />, place);
store.live.run(document);
