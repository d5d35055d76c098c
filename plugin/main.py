"""The program that Stash starts for each hook, task button and page load; ``main.py worker`` is the worker.

Tiny, because Python never caches the bytecode of the file it starts. Any Python can read it, so that it can say
which one is needed.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The checkout is the package, whatever its folder is called. plugin/ itself must not be on the path, where its
# modules would hide others of the same name.
sys.path[0:1] = []
package = type(sys)("stash_courier")
package.__path__ = [ROOT]
sys.modules["stash_courier"] = package

if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        from stash_courier.plugin import vendored
        from stash_courier.worker import requirements

        unmet = requirements.unmet()
        if unmet:
            sys.exit(unmet)
        import stash_courier.worker.package  # noqa: F401  # fails while an update has not written all files

        vendored.add(ROOT)
        from stash_courier.worker import main

        sys.exit(main.main())
    try:
        from stash_courier.plugin import hook
    except (ImportError, SyntaxError) as error:  # the folder isn't whole, or this Python is older than 3.7
        import json

        sentence = "The plugin can't start (" + str(error) + "). Install it again with everything in its folder."
        if sys.version_info < (3, 9):  # noqa: UP036
            found = "Python " + sys.version.split()[0] + " (" + sys.executable + ") was found"
            sentence = (
                found + ", and Python 3.11 or newer is needed. Install it, or enter another Python at "
                '"Python Executable Path" in the system settings of Stash.'
            )
        sys.stdout.write(json.dumps({"error": sentence}))
        sys.exit(sentence)

    hook.end_process(hook.main(sys.stdin.buffer.read(), ROOT))
