// The part of Stash's PluginApi that the page uses. Not shipped.
import type React from "react";
import type * as ReactBootstrap from "react-bootstrap";
import type * as ReactRouterDOM from "react-router-dom";

// Their own types fit JSX, but not createElement. Their names are checked.
type Part = React.FunctionComponent<any> & Record<string, any>;
type Patch = (...args: any[]) => any;

declare global {
  interface Window {
    __stashCourier?: string;
    PluginApi: {
      React: typeof React;
      libraries: { Bootstrap: Record<keyof typeof ReactBootstrap, Part>; ReactRouterDOM: typeof ReactRouterDOM };
      register: { route(path: string, component: React.ComponentType<any>): void };
      patch: Record<"before" | "after" | "instead", (part: string, patch: Patch) => void>;
      // Stash 0.27 and newer
      hooks: { useToast(): { success(message: React.ReactNode): void; error(error: unknown): void } };
    };
  }
}
