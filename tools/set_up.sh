#!/bin/sh
# Creates .venv and installs the locked requirements into it. The Makefile runs this when the lock has changed.
# The project itself is not installed: an editable install adds a .pth file, which every start of the interpreter
# reads, and the benchmarks measure these starts. Tests name the package themselves.
set -eu
cd "$(dirname "$0")/.."

usable='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c "$usable" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No usable Python: Stash Courier needs Python 3.11 or newer with its venv module (Debian and" >&2
    echo "Ubuntu: apt-get install python3-venv). To use another one: make PYTHON=/path/to/python3" >&2
    return 1
}

# A .venv with a working interpreter is kept, because other processes may run from it.
if ! .venv/bin/python -c "$usable" 2>/dev/null; then
    python=$(find_python)
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install --require-hashes --requirement requirements/test.txt
# Python 3.11's venv installs setuptools, whose .pth file slows down every start. Nothing here needs it.
if .venv/bin/python -c 'import setuptools' 2>/dev/null; then pip uninstall --yes setuptools; fi
