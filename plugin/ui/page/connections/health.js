// The health of connections in words, the same on the cards and in Stash's settings.

/** @type {Readonly<Record<string, [string, string]>>} each health with its words and its color, the worst first */
export const HEALTH = {
  unusable: ["Unusable", "fail"],
  gone: ["Stopped", "fail"],
  removed: ["Removed from Stash's settings", "warn"],
  waiting: ["Waiting", "warn"],
  paused: ["Paused", "info"],
  off: ["Off", "muted"],
  deleting: ["Being deleted", "muted"],
  nothing_sent: ["Nothing sent yet", "info"],
  delivering: ["Delivering", "ok"],
};
