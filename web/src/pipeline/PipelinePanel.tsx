import type { Store } from '../store.ts';
import { Choice } from '../ui/Choice.tsx';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';
import { Flow } from './Flow.tsx';
import { LatencyTable } from './LatencyTable.tsx';
import { stages, transitions, windows } from './stages.ts';

/** What happens to a picture, what waits, and how long each step takes. */
export function PipelinePanel({ store }: { store: Store }) {
  const { live, telemetry, latency, windowMinutes } = store;
  const stats = store.stats.state.value.value;
  const known = latency.state.value.value;
  const chosen = windows.find(([minutes]) => minutes === windowMinutes.value)?.[1] ?? '';
  return (
    <Panel
      id="pipeline"
      title="Pipeline"
      lead="The way of a picture from the camera to an event, and how long each step typically takes."
      wide
      aside={<Age live={live} source={telemetry} />}
    >
      <Fresh live={live} source={telemetry}>
        {(value) => (
          <Flow
            telemetry={value}
            latency={known}
            cameras={stats?.total_cameras}
            events={stats?.total_events}
          />
        )}
      </Fresh>
      <div class="columns">
        <div>
          <div class="sub-head">
            <h3>Each step, last hour</h3>
          </div>
          <Fresh live={live} source={telemetry}>
            {({ latencies }) => (
              <LatencyTable
                caption="Latency of each stage over the last hour"
                rows={stages.map((stage) => ({ ...stage, summary: latencies[stage.key] }))}
              />
            )}
          </Fresh>
        </div>
        <div>
          <div class="sub-head">
            <h3>From step to step, last {chosen}</h3>
            <Choice
              label="Time window of the latencies"
              name="window"
              options={windows}
              value={windowMinutes.value}
              onChange={store.chooseWindow}
            />
          </div>
          <Fresh live={live} source={latency}>
            {(value) => (
              <div class={value.window_minutes === windowMinutes.value ? '' : 'is-stale fresh'}>
                <LatencyTable
                  caption={`Latency from step to step over the last ${value.window_minutes} minutes`}
                  rows={transitions.map((transition) => ({
                    ...transition,
                    summary: value[transition.key],
                  }))}
                />
              </div>
            )}
          </Fresh>
        </div>
      </div>
    </Panel>
  );
}
