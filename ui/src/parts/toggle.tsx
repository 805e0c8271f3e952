// SPDX-License-Identifier: GPL-2.0-or-later
import { useId } from "preact/hooks";

/** A switch with its label and one line that says what it does. */
export function Toggle(p: { label: string; hint?: string; on: boolean; disabled?: boolean; onChange: (on: boolean) => void }) {
  const id = useId();
  return (
    <div class="toggle-row">
      <div>
        <span id={`${id}-label`} class="toggle-label">
          {p.label}
        </span>
        {p.hint && (
          <span id={`${id}-hint`} class="hint">
            {p.hint}
          </span>
        )}
      </div>
      <button
        type="button"
        role="switch"
        class="toggle"
        aria-checked={p.on}
        aria-labelledby={`${id}-label`}
        {...(p.hint ? { "aria-describedby": `${id}-hint` } : {})}
        disabled={p.disabled ?? false}
        onClick={() => p.onChange(!p.on)}
      >
        <span class="knob" />
      </button>
    </div>
  );
}
