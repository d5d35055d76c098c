"""The program that Stash starts for each hook, task button and page load; ``main.py worker`` is the worker.

Tiny, because Python never caches the bytecode of the file it starts.
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

        if unmet := requirements.unmet():
            sys.exit(unmet)
        vendored.add(ROOT)
        from stash_courier.worker import main

        sys.exit(main.main())
    from stash_courier.plugin import hook

    hook.end_process(hook.main(sys.stdin.buffer.read(), ROOT))
