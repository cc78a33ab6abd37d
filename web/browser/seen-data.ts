// Events of another program, as plain rows: any number, over any number of days.
import type { Server } from './server.ts';

/** Inserts events, spread evenly over the days before now, without pictures. */
export async function insertEvents(server: Server, count: number, days: number): Promise<void> {
  await server.sql(
    `INSERT INTO cameras (id, name, folder_path)
     VALUES ('porch', 'Porch', '/cameras/porch'), ('garden', 'Garden', '/cameras/garden')
     ON CONFLICT DO NOTHING`,
  );
  const part = 20_000;
  for (let first = 1; first <= count; first += part) {
    await server.sql(
      `INSERT INTO events (camera_id, started_at, ended_at, risk_score, risk_level, summary,
                           reasoning, object_types, reviewed)
       SELECT CASE WHEN i % 3 = 0 THEN 'garden' ELSE 'porch' END,
              now() - interval '1 minute' - $3::float8 * interval '1 day' * i / $4, now(),
              i % 100,
              CASE WHEN i % 100 < 30 THEN 'low' WHEN i % 100 < 60 THEN 'medium'
                   WHEN i % 100 < 85 THEN 'high' ELSE 'critical' END,
              'Number ' || i, 'Because.', CASE WHEN i % 2 = 0 THEN 'person' ELSE 'car, dog' END,
              i % 10 <> 0
       FROM generate_series($1::bigint, $2::bigint) AS i`,
      [first, Math.min(count, first + part - 1), days, count],
    );
  }
  await server.sql('ANALYZE');
}
