declare module 'virtual:contract' {
  import type { SystemConfigUpdate } from '@hsi/client';

  /** What the contract allows for one number. */
  export interface Bounds {
    integer: boolean;
    description: string;
    minimum: number;
    maximum: number;
  }

  export const configFields: Record<keyof SystemConfigUpdate, Bounds>;
  export const historyLimit: Bounds;
  export const windowMinutes: Bounds;
}
