// The title of the browser's tab.
import { React } from "./stash.js";

/**
 * Holds document.title while the component is shown: Stash sets its own again and again.
 * @param {string} title
 */
export const useTitle = (title) => {
  React.useEffect(() => {
    let theirs = document.title;
    const hold = () => {
      if (document.title === title) return;
      theirs = document.title;
      document.title = title;
    };
    hold();
    const observer = new MutationObserver(hold);
    observer.observe(document.head, { childList: true, subtree: true, characterData: true });
    return () => {
      observer.disconnect();
      document.title = theirs;
    };
  }, [title]);
};
