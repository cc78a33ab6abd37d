import type { ComponentChildren } from 'preact';

interface PanelProps {
  id: string;
  title: string;
  /** One sentence under the title. */
  lead?: ComponentChildren;
  /** Stands at the right of the title: age, choices. */
  aside?: ComponentChildren;
  wide?: boolean;
  children: ComponentChildren;
}

/** One part of the page. */
export function Panel({ id, title, lead, aside, wide = false, children }: PanelProps) {
  return (
    <section id={id} class={wide ? 'panel is-wide' : 'panel'} aria-labelledby={`${id}-title`}>
      <div class="panel-head">
        <div>
          <h2 id={`${id}-title`}>{title}</h2>
          {lead !== undefined && <p class="lead">{lead}</p>}
        </div>
        {aside !== undefined && <div class="panel-aside">{aside}</div>}
      </div>
      {children}
    </section>
  );
}
