// What services and workers are called for people, and what a person can do about each.

const services: Record<string, string> = {
  database: 'Database',
  redis: 'Redis',
  ai: 'AI services',
  storage: 'Media storage',
};

const workers: Record<string, string> = {
  gpu_monitor: 'GPU monitor',
  cleanup_service: 'Cleanup',
  detection_worker: 'Detection',
  analysis_worker: 'Analysis',
  file_watcher: 'Camera folders',
  batch_worker: 'Batching',
};

/** The service's name for people. */
export function serviceName(key: string): string {
  return services[key] ?? spelledOut(key);
}

/** The worker's name for people. */
export function workerName(key: string): string {
  return workers[key] ?? spelledOut(key);
}

function spelledOut(key: string): string {
  const words = key.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What to do about a service that is not healthy. */
export function adviceForService(
  key: string,
  message: string,
  details: Record<string, string>,
): string {
  if (/not checked yet|not ready yet/.test(message)) return 'It is just starting. Wait a minute.';
  switch (key) {
    case 'database':
      return 'Check that PostgreSQL runs and that its disk is not full. The server connects again by itself.';
    case 'redis':
      return 'Check that Redis runs. The server connects again by itself.';
    case 'storage':
      return 'Check that the disk of the media folder is there, can be written and is not full.';
    case 'ai':
      return adviceForAI(details);
    default:
      return 'The server’s log says more.';
  }
}

const aiServices: [key: string, name: string][] = [
  ['rtdetr', 'RT-DETR'],
  ['nemotron', 'Nemotron'],
];

/** States of an AI service that need nobody. */
const fine = new Set(['healthy', 'embedded', 'busy', undefined]);

function adviceForAI(details: Record<string, string>): string {
  const bad = aiServices.filter(([key]) => !fine.has(details[key]));
  if (bad.length > 0 && bad.every(([key]) => details[key] === 'loading model'))
    return 'A model is being loaded. Wait until it is done.';
  const names = bad.map(([, name]) => name).join(' and ') || 'the AI services';
  return `Check that ${names} can be reached and that the model is loaded. Pictures wait until then; no score is invented.`;
}

/** What to do about a worker that does not run. */
export function adviceForWorker(message: string): string {
  if (/not started/.test(message)) return 'It is just starting. Wait a minute.';
  return 'The server starts it again by itself. If it does not come back within a minute, the server’s log says why.';
}
