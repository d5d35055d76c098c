// The form of a plugin's settings, which plugins can patch. It reads all settings once, and what it saves is every
// plugin's map from that copy, as Stash does.
import { gql, useApolloClient } from "@apollo/client";
import React from "react";

import { patched } from "./patches.js";

const h = React.createElement;
export const SettingsContext = React.createContext(/** @type {any} */ ({ plugins: {} }));

/** @param {any} props */
const Form = ({ pluginID, settings }) => {
  const client = useApolloClient();
  const [all, setAll] = React.useState(/** @type {any} */ (null));
  React.useEffect(() => {
    client.query({ query: gql("{ configuration { plugins } }") }).then(({ data }) => setAll(data.configuration.plugins));
  }, [client]);
  /** @param {string} name @param {any} value */
  const save = async (name, value) => {
    const next = { ...all, [pluginID]: { ...all[pluginID], [name]: value } };
    setAll(next);
    for (const [id, input] of Object.entries(next)) {
      await client.mutate({
        mutation: gql("mutation($id: ID!, $input: Map!) { configurePlugin(plugin_id: $id, input: $input) }"),
        variables: { id, input },
      });
    }
  };
  if (!all) return null;
  return h(
    "div",
    { className: "plugin-settings" },
    (settings ?? []).map((/** @type {any} */ one) =>
      h(
        "label",
        { key: one.name, className: "setting" },
        one.display_name,
        h("input", {
          defaultValue: all[pluginID]?.[one.name] ?? "",
          onBlur: (/** @type {any} */ event) => save(one.name, event.target.value),
        }),
      ),
    ),
  );
};

export const PluginSettings = patched("PluginSettings", (props) => h(Form, props));
