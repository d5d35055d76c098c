// The library report of one media server, as a table.
import { call } from "../shared/api.js";
import { SceneLink } from "../shared/links.js";
import { FailureNotice, Notice } from "../shared/notice.js";
import { usePolling } from "../shared/poll.js";
import { Bootstrap, h } from "../shared/stash.js";
import { CardTable, Cell, Row } from "../shared/table.js";
import { number, plural } from "../shared/words.js";

/** @param {{connection: string, close: () => void}} props */
export const LibraryReport = ({ connection, close }) => {
  const { data, failure, refresh } = usePolling(
    (signal) => call("library_report", { connection }, signal),
    0,
    connection,
  );
  const report = data?.connections[0];
  return h(
    "section",
    { "aria-label": "Library report" },
    failure ? h(FailureNotice, { failure, retry: refresh }) : null,
    report?.error ? h(Notice, { status: "fail" }, report.error) : null,
    !failure && !report
      ? h("p", { role: "status" }, "Comparing all scenes with the server. This may take minutes…")
      : null,
    report && !report.error ? h(Groups, { report }) : null,
    h(Bootstrap.Button, { size: "sm", variant: "secondary", onClick: close }, "Close the report"),
  );
};

/** @param {{report: any}} props */
const Groups = ({ report }) =>
  h(
    "div",
    null,
    h(
      "p",
      { role: "status" },
      `Compared: ${plural(report.scenes, "scene")}.`,
      report.left_out ? ` Left out by filters: ${number(report.left_out)}.` : "",
    ),
    h(
      CardTable,
      { caption: "Library report", head: ["Scenes", "What the server has of them"] },
      report.groups.map((/** @type {any} */ group) =>
        h(
          Row,
          { key: group.group },
          h(Cell, { label: "Scenes" }, number(group.scenes)),
          h(
            Cell,
            null,
            group.text,
            group.advice ? h("div", { className: "courier-help" }, group.advice) : null,
            group.examples.length ? h(Examples, { examples: group.examples }) : null,
          ),
        ),
      ),
    ),
  );

/** @param {{examples: {scene: number, path: string, server_path: string, why: string}[]}} props */
const Examples = ({ examples }) =>
  h(
    "details",
    null,
    h("summary", null, `Examples: ${examples.length}`),
    h(
      "ul",
      null,
      examples.map((one) =>
        h(
          "li",
          { key: one.scene },
          h("code", null, h(SceneLink, { sceneId: one.scene, title: one.path })),
          one.server_path && one.server_path !== one.path
            ? h("span", null, " → ", h("code", null, one.server_path))
            : null,
          one.why ? ` ${one.why}` : "",
        ),
      ),
    ),
  );
