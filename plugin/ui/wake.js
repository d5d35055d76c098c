// Wakes the worker once per page load, because Stash starts no plugin when it starts.
// Reports no errors: a disabled or unreachable plugin must not disturb the page.
(() => {
  const DELAY = 3000; // milliseconds, so that the page's own requests go first
  const MARK = "__stashCourierWake";

  // Stash inserts the scripts again when its list of plugins changes.
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
        keepalive: true, // the request survives leaving the page
      });
    } catch {
      // The next page load tries again.
    }
  };

  setTimeout(wake, DELAY);
})();
