#!/bin/sh
# Creates .venv and installs the locked requirements. The Makefile runs this when the lock has changed.
# The project itself is not installed: an editable install creates a .pth file, which every start of the
# interpreter reads, and the benchmarks measure starts. Tests make the checkout importable themselves.
set -eu
cd "$(dirname "$0")/.."

usable='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c "$usable" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No suitable Python found. Stash Courier needs Python 3.11 or newer with its venv module (Debian and" >&2
    echo "Ubuntu: apt-get install python3-venv). To use another one: make PYTHON=/path/to/python3" >&2
    return 1
}

# Keep a .venv whose interpreter works: other processes may be using it.
if ! .venv/bin/python -c "$usable" 2>/dev/null; then
    python=$(find_python)
    echo "Creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install --require-hashes --requirement requirements/test.txt
# Python 3.11 installs setuptools into a venv. Its .pth file slows down each start, and nothing here needs it.
if .venv/bin/python -c 'import setuptools' 2>/dev/null; then pip uninstall --yes setuptools; fi
