// Wakes the worker once a page load, for Stash starts nothing by itself when it starts.
// Silent whatever happens: an unreachable or disabled plugin is not this page's business.
(() => {
  const DELAY = 3000; // milliseconds: the page's own requests go first
  const MARK = "__stashCourierWake";

  // Stash puts the scripts in again when its list of plugins changes.
  if (window[MARK]) return;
  window[MARK] = true;

  const wake = async () => {
    try {
      const base = document.querySelector("base").href;
      await fetch(base + "graphql", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          query:
            'mutation StashCourierWake($args: Map) { runPluginOperation(plugin_id: "stash_plugin", args: $args) }',
          variables: { args: { mode: "wake" } },
        }),
        keepalive: true, // goes through when the page is left meanwhile
      });
    } catch {
      // The next page load tries again.
    }
  };

  setTimeout(wake, DELAY);
})();
