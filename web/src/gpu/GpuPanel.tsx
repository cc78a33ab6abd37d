import type { GPUStats } from '@hsi/client';

import { formatClock, formatMoment, formatCount, unknown } from '../format.ts';
import type { Store } from '../store.ts';
import { Choice } from '../ui/Choice.tsx';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';
import { TableBox } from '../ui/TableBox.tsx';
import { Chart, startOf } from './Chart.tsx';
import { type History, extentOf, parts, timeOf } from './history.ts';
import { hasNoGPU, quantities, ranges } from './quantities.ts';

/** The graphics processor now and over time. */
export function GpuPanel({ store }: { store: Store }) {
  const { live, gpu, history, rangeMinutes } = store;
  const stats = gpu.state.value.value;
  const course = history.state.value.value;
  const hasCourse = course !== undefined && course.samples.length > 0;
  const monitor = store.health.state.value.value?.readiness.workers.find(
    ({ name }) => name === 'gpu_monitor',
  );
  return (
    <Panel
      id="gpu"
      title="GPU"
      lead={stats?.gpu_name ?? undefined}
      wide
      aside={<Age live={live} source={gpu} />}
    >
      <Fresh live={live} source={gpu}>
        {(value) =>
          hasNoGPU(value) ? (
            <NoGPU reason={monitor?.message ?? undefined} lastMs={lastSampleOf(course)} />
          ) : null
        }
      </Fresh>
      {(hasCourse || (stats !== undefined && !hasNoGPU(stats))) && (
        <>
          <div class="sub-head">
            <h3>
              {course?.truncated
                ? `The newest ${formatCount(course.samples.length)} readings, since ${formatMoment(startOf(course))}`
                : 'Now and over time'}
            </h3>
            <Choice
              label="Time range of the charts"
              name="range"
              options={ranges}
              value={rangeMinutes.value}
              onChange={store.chooseRange}
            />
          </div>
          <Tiles store={store} stats={stats} course={course} />
        </>
      )}
    </Panel>
  );
}

function lastSampleOf(course: History | undefined): number | undefined {
  const last = course?.samples.at(-1);
  return last === undefined ? undefined : timeOf(last);
}

function NoGPU({ reason, lastMs }: { reason: string | undefined; lastMs: number | undefined }) {
  return (
    <p class="callout">
      <strong>No GPU is being read.</strong>{' '}
      {reason === undefined
        ? 'There is none, its driver is missing, or its last reading is too old.'
        : `The GPU monitor says: ${reason}.`}{' '}
      {lastMs !== undefined && `The last reading is from ${formatMoment(lastMs)}. `}
      The rest of the system works without one.
    </p>
  );
}

function Tiles({
  store,
  stats,
  course,
}: {
  store: Store;
  stats: GPUStats | undefined;
  course: History | undefined;
}) {
  const chosen = ranges.find(([minutes]) => minutes === store.rangeMinutes.value)?.[1] ?? '';
  return (
    <>
      <div class="tiles">
        {quantities.map((shown) => (
          <section key={shown.key} class="tile" aria-label={shown.name}>
            <h4>{shown.name}</h4>
            <Fresh live={store.live} source={store.gpu}>
              {(now) => (
                <p class="tile-value">
                  {shown.format(now[shown.key])}{' '}
                  {now[shown.key] !== null && <small>{shown.more?.(now)}</small>}
                </p>
              )}
            </Fresh>
            <Fresh live={store.live} source={store.history}>
              {(history) => (
                <Chart
                  shown={shown}
                  history={history}
                  top={shown.top(stats)}
                  stretch={`the last ${chosen}`}
                />
              )}
            </Fresh>
          </section>
        ))}
      </div>
      {course !== undefined && course.samples.length > 0 && <CourseTable course={course} />}
    </>
  );
}

const tableRows = 12;

/** The charts as numbers, for those who do not see them and for those who want them. */
function CourseTable({ course }: { course: History }) {
  return (
    <details class="details">
      <summary>The charts as a table</summary>
      <TableBox label="The charts as a table">
        <table class="figures">
          <caption class="visually-hidden">
            Mean of each quantity in {tableRows} equal parts of the time range
          </caption>
          <thead>
            <tr>
              <th scope="col">From</th>
              {quantities.map(({ key, name }) => (
                <th key={key} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {parts({ ...course, fromMs: startOf(course) }, tableRows).map(({ fromMs, samples }) => (
              <tr key={fromMs}>
                <th scope="row">{formatClock(fromMs)}</th>
                {quantities.map(({ key, format }) => (
                  <td key={key}>
                    {samples.length === 0 ? unknown : format(extentOf(samples, key)?.mean)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </TableBox>
    </details>
  );
}
