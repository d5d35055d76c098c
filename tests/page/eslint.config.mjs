// The linter of plugin/ui and of the host page. Names that don't exist are tsc's part.
import { createRequire } from "node:module";

const need = createRequire(new URL("../../.build/page/package.json", import.meta.url));

export default [
  need("@eslint/js").configs.recommended,
  {
    files: ["plugin/ui/**/*.js", "tests/page/host/*.js"],
    languageOptions: { ecmaVersion: 2020, sourceType: "module" }, // newer syntax is an error: no build step removes it
    linterOptions: { reportUnusedDisableDirectives: "error" },
    plugins: { "react-hooks": need("eslint-plugin-react-hooks") },
    rules: {
      "no-undef": "off",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "react-hooks/rules-of-hooks": "error",
      "react-hooks/exhaustive-deps": "error",
      "no-restricted-properties": ["error", { property: "innerHTML" }, { property: "outerHTML" }],
    },
  },
  { files: ["plugin/ui/courier.js"], languageOptions: { sourceType: "script" } },
];
