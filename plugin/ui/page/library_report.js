// The library report of one media server, as a table.

import {call} from "./api.js";
import {Bootstrap, React, h} from "./stash.js";
import {count} from "./words.js";

/** @param {{connection: string}} props */
export function LibraryReport({connection}) {
  const [report, setReport] = React.useState(/** @type {any} */ (null));
  const [failed, setFailed] = React.useState("");
  React.useEffect(() => {
    let current = true;
    call("library_report", {connection}).then(
      (answer) => current && setReport(answer.connections[0]),
      (error) => current && setFailed(error.message),
    );
    return () => void (current = false);
  }, [connection]);

  if (failed || (report && report.error)) {
    return h("div", {className: "courier-notice courier-fail", role: "alert"}, failed || report.error);
  }
  if (!report) return h("p", {role: "status"}, "Comparing all scenes with the server. This can take some minutes…");
  return h(
    "section",
    {className: "courier-report", "aria-label": "Library report"},
    h("p", {role: "status"}, `Scenes compared: ${count(report.scenes)}.`, report.left_out ? ` Left out by filters: ${count(report.left_out)}.` : ""),
    h(
      Bootstrap.Table,
      {size: "sm", responsive: true},
      h("thead", null, h("tr", null, h("th", {scope: "col"}, "Scenes"), h("th", {scope: "col"}, "What the server has of them"))),
      h(
        "tbody",
        null,
        report.groups.map((/** @type {any} */ group) =>
          h(
            "tr",
            {key: group.group},
            h("td", null, count(group.scenes)),
            h("td", null, group.text, group.advice ? h("div", {className: "courier-help"}, group.advice) : null, h(Examples, {examples: group.examples})),
          ),
        ),
      ),
    ),
  );
}

/** @param {{examples: {scene: number, path: string, server_path: string, why: string}[]}} props */
function Examples({examples}) {
  if (!examples.length) return null;
  return h(
    "details",
    null,
    h("summary", null, `Examples: ${examples.length}`),
    h(
      "ul",
      {className: "courier-examples"},
      examples.map((one, place) =>
        h(
          "li",
          {key: place},
          h("code", null, one.path),
          one.server_path && one.server_path !== one.path ? [" → ", h("code", {key: "there"}, one.server_path)] : null,
          one.why ? ` ${one.why}` : "",
        ),
      ),
    ),
  );
}
