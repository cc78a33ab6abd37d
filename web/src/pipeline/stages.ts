import type { LatencySummary, PipelineLatency, StageLatencies } from '@hsi/client';

/** Names and meanings of the four stages, in the order of the flow. */
export const stages: { key: keyof StageLatencies; name: string; meaning: string }[] = [
  { key: 'watch', name: 'Watch', meaning: 'The picture is complete, checked and queued' },
  { key: 'detect', name: 'Detect', meaning: 'The detector looks for objects' },
  { key: 'batch', name: 'Batch', meaning: 'Pictures of one camera are collected' },
  { key: 'analyze', name: 'Analyze', meaning: 'The batch gets its risk score' },
];

/** The four transitions, in the order of the flow. */
export const transitions: {
  key: Exclude<keyof PipelineLatency, 'window_minutes' | 'timestamp'>;
  name: string;
  meaning: string;
}[] = [
  {
    key: 'watch_to_detect',
    name: 'Watch to detect',
    meaning: 'Picture seen until the detector starts',
  },
  { key: 'detect_to_batch', name: 'Detect to batch', meaning: 'Detector starts until in a batch' },
  {
    key: 'batch_to_analyze',
    name: 'Batch to analyze',
    meaning: 'Batch closed until its event is stored',
  },
  { key: 'total_pipeline', name: 'Total', meaning: 'Picture seen until its event is stored' },
];

/** Windows that can be chosen, in minutes. */
export const windows = [
  [5, '5 min'],
  [15, '15 min'],
  [60, '1 h'],
  [360, '6 h'],
  [1440, '24 h'],
] as const;

export type Summary = LatencySummary | null;
