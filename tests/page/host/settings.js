// The settings of plugins, which plugins can patch. As in Stash they are read once while the page is shown, frozen as
// Apollo's answers are, and what is saved a moment later is every plugin's map from that copy.
import { gql, useApolloClient } from "@apollo/client";
import React from "react";

import { patched } from "./patches.js";

const h = React.createElement;
const SAVED_AFTER = 500; // milliseconds
const SettingsContext = React.createContext(/** @type {any} */ (null));
export const useSettings = () => React.useContext(SettingsContext);

/** @param {{children?: any}} props */
export const SettingsProvider = ({ children }) => {
  const client = useApolloClient();
  const [all, setAll] = React.useState(/** @type {any} */ (null));
  const pending = React.useRef(/** @type {any} */ (null));
  const timer = React.useRef(/** @type {any} */ (undefined));
  React.useEffect(() => {
    client.query({ query: gql("{ configuration { plugins } }") }).then(({ data }) => {
      setAll((/** @type {any} */ old) => old ?? Object.freeze(data.configuration.plugins));
    });
  }, [client]);

  const write = async () => {
    for (const [id, input] of Object.entries(pending.current)) {
      await client.mutate({
        mutation: gql("mutation($id: ID!, $input: Map!) { configurePlugin(plugin_id: $id, input: $input) }"),
        variables: { id, input },
      });
    }
    pending.current = null;
  };
  /** @param {string} id @param {any} values */
  const savePluginSettings = (id, values) => {
    setAll({ ...all, [id]: values });
    pending.current = { ...(pending.current ?? all), [id]: values };
    clearTimeout(timer.current);
    timer.current = setTimeout(write, SAVED_AFTER);
  };
  const value = { loading: !all, plugins: all ?? {}, savePluginSettings };
  return h(SettingsContext.Provider, { value }, children);
};

/** @param {any} props */
export const Setting = ({ id, heading, subHeading, children }) =>
  h(
    "div",
    { className: "setting", id },
    h("div", null, h("h3", null, heading), h("div", { className: "sub-heading" }, subHeading)),
    h("div", null, children),
  );

/** @param {any} props */
export const StringSetting = ({ value, onChange, ...rest }) =>
  h(
    Setting,
    rest,
    h("input", {
      "aria-label": rest.heading,
      defaultValue: value,
      onBlur: (/** @type {any} */ { target }) => target.value === value || onChange(target.value),
    }),
  );

/** @param {any} props */
export const BooleanSetting = ({ checked, onChange, ...rest }) =>
  h(
    Setting,
    rest,
    h("input", {
      type: "checkbox",
      "aria-label": rest.heading,
      checked,
      onChange: () => onChange(!checked),
    }),
  );

/** Shows a number that isn't set as 0, as Stash does. @param {any} props */
const Form = ({ pluginID, settings }) => {
  const { loading, plugins, savePluginSettings } = useSettings();
  if (loading) return null;
  const ours = plugins[pluginID] ?? {};
  return h(
    "div",
    { className: "plugin-settings" },
    (settings ?? []).map((/** @type {any} */ { name, display_name: heading, description: subHeading, type }) => {
      const save = (/** @type {any} */ value) => savePluginSettings(pluginID, { ...ours, [name]: value });
      if (type === "BOOLEAN") {
        return h(BooleanSetting, { key: name, heading, subHeading, checked: ours[name] ?? false, onChange: save });
      }
      const value = ours[name] ?? (type === "NUMBER" ? 0 : "");
      return h(StringSetting, { key: name, heading, subHeading, value, onChange: save });
    }),
  );
};

export const PluginSettings = patched("PluginSettings", (props) => h(Form, props));
