import type { PipelineLatency, Telemetry } from '@hsi/client';

import { formatCount, formatLatency } from '../format.ts';
import { type Summary, stages, transitions } from './stages.ts';

interface FlowProps {
  telemetry: Telemetry;
  /** Undefined until known. */
  latency: PipelineLatency | undefined;
  cameras: number | undefined;
  events: number | undefined;
}

/**
 * The way of a picture, drawn as the pipeline that it is, and below it the stretch of each
 * transition with its median. Read aloud it is a list of the steps in their order; the stretches
 * are in the table too.
 */
export function Flow({ telemetry, latency, cameras, events }: FlowProps) {
  const { queues, latencies } = telemetry;
  const [watch, detect, batch, analyze] = stages.map(({ key, name, meaning }) => (
    <Stage key={key} name={name} meaning={meaning} summary={latencies[key]} />
  ));
  return (
    <div class="flow">
      <ol class="flow-steps" aria-label="The way of a picture">
        <End name="Cameras" value={formatCount(cameras)} />
        {watch}
        <Queue
          name="wait for detection"
          one="waits for detection"
          count={queues.detection_queue}
          unit="pictures"
        />
        {detect}
        {batch}
        <Queue
          name="wait for analysis"
          one="waits for analysis"
          count={queues.analysis_queue}
          unit="batches"
        />
        {analyze}
        <End name="Events" value={formatCount(events)} />
      </ol>
      {latency !== undefined && (
        <div class="flow-spans" aria-hidden="true">
          {transitions.map(({ key, name }) => (
            <div key={key} class={`flow-span span-${key}`}>
              {name} <strong>{formatLatency(latency[key]?.p50_ms)}</strong>
            </div>
          ))}
        </div>
      )}
    </div>
  );
}

function End({ name, value }: { name: string; value: string }) {
  return (
    <li class="flow-end">
      <span class="flow-number">{value}</span>
      <span class="flow-label">{name}</span>
    </li>
  );
}

function Stage({ name, meaning, summary }: { name: string; meaning: string; summary: Summary }) {
  return (
    <li class="flow-stage">
      <span class="flow-name">{name}</span>
      <span class="flow-meaning">{meaning}</span>
      <span class="flow-time">
        {summary === null ? (
          'no pictures in the last hour'
        ) : (
          <>typically {formatLatency(summary.p50_ms)}</>
        )}
      </span>
    </li>
  );
}

function Queue({
  name,
  one,
  count,
  unit,
}: {
  name: string;
  one: string;
  count: number;
  unit: string;
}) {
  return (
    <li class={count > 0 ? 'flow-queue has-some' : 'flow-queue'}>
      <span class="flow-number">{formatCount(count)}</span>
      <span class="flow-label">
        <span class="visually-hidden">{unit} </span>
        {count === 1 ? one : name}
      </span>
    </li>
  );
}
