"""What Stash starts: one short process per hook, task button or UI call; ``main.py worker`` is the worker.

Tiny, because the started file is the one module that Python never caches as bytecode.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The checkout is the package, whatever its folder is called. plugin/ itself must not be on the
# path: its modules have short names.
sys.path[0:1] = []
package = type(sys)("stash_courier")
package.__path__ = [ROOT]
sys.modules["stash_courier"] = package

if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        from stash_courier.plugin import vendored

        vendored.add(ROOT)
        from stash_courier.worker import main

        sys.exit(main.main())
    from stash_courier.plugin import hook

    hook.end_process(hook.main(sys.stdin.buffer.read(), ROOT))
