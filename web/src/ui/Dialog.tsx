import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

interface DialogProps {
  /** Ids of the title and of what explains it. */
  labelledBy: string;
  describedBy?: string;
  /** An alert dialog asks before something that cannot be undone. */
  alert?: boolean;
  /** Called when it is closed in any way; also after it was taken off the page. */
  onClose: () => void;
  children: ComponentChildren;
}

/**
 * A question that stands before everything else, for as long as it is on the page. Afterwards the
 * focus is back where it was.
 */
export function Dialog({ labelledBy, describedBy, alert = false, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog"
      role={alert ? 'alertdialog' : 'dialog'}
      aria-labelledby={labelledBy}
      aria-describedby={describedBy}
      onClose={onClose}
    >
      {children}
    </dialog>
  );
}
