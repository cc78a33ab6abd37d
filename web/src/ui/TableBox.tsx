import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

/** Lets a table that is wider than the screen be moved sideways; then also with the keyboard. */
export function TableBox({ label, children }: { label: string; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(false);
  useEffect(() => {
    const place = box.current;
    if (place === null) return undefined;
    const resized = new ResizeObserver(() => setWide(place.scrollWidth > place.clientWidth));
    resized.observe(place);
    if (place.firstElementChild !== null) resized.observe(place.firstElementChild);
    return () => resized.disconnect();
  }, []);
  const reachable = wide ? ({ role: 'group', tabIndex: 0, 'aria-label': label } as const) : {};
  return (
    <div ref={box} class="table-box" {...reachable}>
      {children}
    </div>
  );
}
