// PluginApi.patch: functions that plugins put around parts of the page. One that throws is not caught here.
/** @typedef {(...args: any[]) => any} Patch */

/** @type {Record<"before" | "after" | "instead", Map<string, Patch[]>>} */
const patches = { before: new Map(), after: new Map(), instead: new Map() };

/** @param {keyof typeof patches} when */
const register = (when) => (/** @type {string} */ part, /** @type {Patch} */ patch) => {
  patches[when].set(part, [...(patches[when].get(part) ?? []), patch]);
};

export const before = register("before");
export const after = register("after");
export const instead = register("instead");

/**
 * A component that plugins can patch.
 * @param {string} part
 * @param {Patch} component
 */
export const patched = (part, component) => {
  /** @type {import("react").FunctionComponent<any>} */
  const Patched = (props, context) => {
    /** @type {any[]} */
    let args = [props, context];
    for (const patch of patches.before.get(part) ?? []) args = patch(...args);
    let inner = component;
    for (const patch of patches.instead.get(part) ?? []) {
      const next = inner;
      inner = (...given) => patch(...given, next);
    }
    let result = inner(...args);
    for (const patch of patches.after.get(part) ?? []) result = patch(...args, result);
    return result;
  };
  return Patched;
};
