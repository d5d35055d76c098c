// The plugin's part of Settings → Plugins: one line with the state in words, and the short list of common settings.
import { call } from "./api.js";
import { HEALTH } from "./health.js";
import { FailureNotice } from "./notice.js";
import { usePolling } from "./poll.js";
import { useValues } from "./settings_values.js";
import { Bootstrap, React, Router, h, parts, path } from "./stash.js";
import { number } from "./words.js";

/**
 * @typedef {object} Setting as Stash describes it
 * @property {string} name
 * @property {string} [display_name]
 * @property {string} [description]
 * @property {string} type
 */

/** "1 to 100. Not set (0): 10." at the end of a number's description */
const RANGE = /(\d+) to (\d+)\. Not set \(0\): (.+)\.$/;

/** @param {{settings: Setting[], original: any}} props `original` is Stash's own form, for what can't be drawn here */
const PluginSettings = ({ settings, original }) => {
  const drawn = settings.every(({ type }) => type in FIELDS) && parts().Setting && parts().StringSetting;
  return h(React.Fragment, null, h(StateLine), drawn ? h(Form, { settings }) : original);
};
export default PluginSettings;

const StateLine = () => {
  const { data, failure } = usePolling((signal) => call("overview", {}, signal), 30);
  const [text, level] = failure ? [failure.message, "fail"] : inWords(data);
  return h(
    "div",
    { className: "courier-settings-line" },
    h(Router.Link, { className: "btn btn-primary", to: path }, "Open Stash Courier"),
    h("span", { role: "status", className: `courier-${level}` }, text),
  );
};

/**
 * The state in words, and how good it is.
 * @param {any} overview
 * @returns {[string, string]}
 */
export const inWords = (overview) => {
  if (!overview) return ["", "muted"];
  const { banners, connections, dead_letters: dead } = overview;
  if (banners.length) return [banners[0].text, banners[0].status];
  if (!connections.length) return ["No connection yet, so nothing is sent.", "muted"];
  const found = Object.entries(HEALTH)
    .map(([health, [words, level]]) => {
      const count = connections.filter((/** @type {any} */ one) => one.health === health).length;
      return { count, level, text: `${number(count)} ${words[0].toLowerCase()}${words.slice(1)}` };
    })
    .filter(({ count }) => count);
  const waiting = connections.reduce(
    (/** @type {number} */ sum, /** @type {any} */ one) => sum + one.waiting + one.in_flight,
    overview.inbox,
  );
  const said = [
    dead ? `Dead letters: ${number(dead)}.` : "",
    `Connections: ${found.map(({ text }) => text).join(", ")}.`,
    waiting ? `Deliveries that wait: ${number(waiting)}.` : "",
  ];
  return [said.filter(Boolean).join(" "), dead ? "fail" : found[0].level];
};

/** @param {{settings: Setting[]}} props */
const Form = ({ settings }) => {
  const { values, failure, save, reload } = useValues();
  return h(
    "div",
    { className: "plugin-settings" },
    failure ? h(FailureNotice, { failure, retry: reload }) : null,
    values &&
      settings.map((setting) =>
        h(FIELDS[setting.type], {
          key: setting.name,
          id: `courier-${setting.name}`,
          setting,
          value: values[setting.name],
          save: (/** @type {unknown} */ value) => save(setting.name, value),
        }),
      ),
  );
};

/** @typedef {{id: string, setting: Setting, value: any, save: (value: unknown) => void}} FieldProps */

/** @param {Setting} setting */
const texts = ({ name, display_name: label, description }) => ({ heading: label ?? name, subHeading: description });

/** @param {FieldProps} props */
const StringField = ({ id, setting, value, save }) =>
  h(parts().StringSetting, {
    ...texts(setting),
    id,
    value: value ?? "",
    onChange: (/** @type {string} */ text) => save(text || undefined),
  });

/** @param {FieldProps} props */
const BooleanField = ({ id, setting, value, save }) =>
  h(parts().BooleanSetting, { ...texts(setting), id, checked: value ?? false, onChange: save });

/**
 * A number that is empty when it isn't set. Stash's own field would show 0, and can't make it unset again.
 * @param {FieldProps} props
 */
const NumberField = ({ id, setting, value, save }) => {
  const stored = value ? String(value) : ""; // 0 means that it isn't set
  const [typed, type] = React.useState(/** @type {string | null} */ (null));
  const [, low, high, unset] = RANGE.exec(setting.description ?? "") ?? [];
  const text = typed ?? stored;
  const wrong = wrongNumber(text, low, high);
  const enter = () => {
    if (typed === null || wrong) return;
    if (text.trim() !== stored) save(Number(text) || undefined);
    type(null);
  };
  return h(
    parts().Setting,
    { ...texts(setting), id },
    h(Bootstrap.Form.Control, {
      className: "text-input courier-number",
      "aria-label": setting.display_name ?? setting.name,
      "aria-describedby": wrong ? `${id}-wrong` : undefined,
      inputMode: "numeric",
      isInvalid: Boolean(wrong),
      placeholder: unset,
      value: text,
      onChange: (/** @type {any} */ { target }) => type(target.value),
      onBlur: enter,
      onKeyDown: (/** @type {any} */ { key }) => {
        if (key === "Enter") enter();
        if (key === "Escape") type(null);
      },
    }),
    wrong ? h("div", { id: `${id}-wrong`, role: "alert", className: "courier-fail" }, wrong) : null,
  );
};

/**
 * What is wrong with a number that was typed, or "".
 * @param {string} text
 * @param {string | undefined} low
 * @param {string | undefined} high
 */
const wrongNumber = (text, low = "0", high = "Infinity") => {
  const entered = Number(text);
  if (!text.trim() || entered === 0) return "";
  if (/^\s*\d+\s*$/.test(text) && entered >= Number(low) && entered <= Number(high)) return "";
  return `Enter a whole number from ${low} to ${high}, or nothing. It isn't saved yet.`;
};

const FIELDS = /** @type {Record<string, (props: FieldProps) => any>} */ ({
  STRING: StringField,
  NUMBER: NumberField,
  BOOLEAN: BooleanField,
});
