interface ChoiceProps<T> {
  /** Name of the group, for forms and screen readers. */
  label: string;
  name: string;
  options: readonly (readonly [value: T, text: string])[];
  value: T;
  onChange: (value: T) => void;
}

/** One of a few, as radio buttons that look like one bar. */
export function Choice<T extends number | string>({
  label,
  name,
  options,
  value,
  onChange,
}: ChoiceProps<T>) {
  return (
    <fieldset class="choice">
      <legend class="visually-hidden">{label}</legend>
      {options.map(([option, text]) => (
        <label key={option} class={option === value ? 'is-chosen' : ''}>
          <input
            type="radio"
            name={name}
            checked={option === value}
            onChange={() => onChange(option)}
          />
          {text}
        </label>
      ))}
    </fieldset>
  );
}
