import { formatCount, formatLatency } from '../format.ts';
import { TableBox } from '../ui/TableBox.tsx';
import type { Summary } from './stages.ts';

interface LatencyTableProps {
  caption: string;
  rows: { key: string; name: string; meaning: string; summary: Summary }[];
}

/** Percentiles and sample counts; a dash where nothing was measured. */
export function LatencyTable({ caption, rows }: LatencyTableProps) {
  return (
    <TableBox label={caption}>
      <table class="figures">
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col">
              <abbr title="Half were faster">p50</abbr>
            </th>
            <th scope="col">
              <abbr title="95 of 100 were faster">p95</abbr>
            </th>
            <th scope="col">
              <abbr title="99 of 100 were faster">p99</abbr>
            </th>
            <th scope="col">Samples</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, name, meaning, summary }) => (
            <tr key={key}>
              <th scope="row">
                {name}
                <span class="meaning">{meaning}</span>
              </th>
              <td>{formatLatency(summary?.p50_ms)}</td>
              <td>{formatLatency(summary?.p95_ms)}</td>
              <td>{formatLatency(summary?.p99_ms)}</td>
              <td>{formatCount(summary?.sample_count ?? 0)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </TableBox>
  );
}
