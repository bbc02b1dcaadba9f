#!/bin/sh
# Makes the virtual environment .venv from requirements.lock: `make` calls it when it is out of date.
#
# Safe to interrupt: .venv/.complete is written last, and an environment without it is made anew.
set -eu
cd "$(dirname "$0")/.."

# Two commands at once: the second waits, and then finds the work done.
if command -v flock >/dev/null; then
    exec 9>.install.lock
    flock --nonblock 9 || {
        echo "install: waiting for another installation to end"
        flock 9
    }
fi

fail() {
    echo "install: $1" >&2
    exit 1
}

# A name may be a version manager's shim that only prints an error, so each candidate must run.
suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suits "$PYTHON" || fail "$PYTHON is no Python 3.11 to 3.14"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
        if suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.14 found. Install one, or name it: make PYTHON=/path/to/python3.11"
}

# The environment holds absolute paths, so it counts only where it was made.
if [ "$(cat .venv/.complete 2>/dev/null || true)" = "$(pwd -P)" ]; then
    if [ .venv/.stamp -nt requirements.lock ] && [ .venv/.stamp -nt pyproject.toml ] &&
        [ .venv/.stamp -nt scripts/install.sh ]; then
        exit 0
    fi
else
    python=$(find_python)
    echo "install: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv ||
        fail "could not make .venv (on Debian: apt-get install python3-venv)"
fi
rm -f .venv/.complete .venv/.stamp

echo "install: installing the pinned packages; the first time takes some minutes"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
.venv/bin/python -m pip install -qq --no-compile --requirement requirements.lock ||
    fail "could not install requirements.lock: see pip's message above, then run make again"
# Afterwards and on all cores, which pip does not do; some packages hold files of other Pythons.
.venv/bin/python -m compileall -qq -j 0 .venv/lib || true
.venv/bin/python -m pip install -qq --no-deps --no-build-isolation --editable . ||
    fail "could not install the project itself: see pip's message above"

printf "%s" "$(pwd -P)" > .venv/.complete
touch .venv/.stamp
