#!/bin/sh
# Finds or makes a fitting Python and puts the locked requirements into .venv. A second run with
# the same lock does nothing. CROSSOVER_PYTHON names an interpreter to take instead of looking.
set -eu
cd "$(dirname "$0")/../.."
lock=requirements-dev.txt
stamp=.venv/.crossover-lock
stop() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

# The clone's path belongs to the stamp: the scripts of a moved .venv still name the old place.
digest() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi | cut -c1-64
}
wanted=$({ cat "$lock" && pwd; } | digest)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c ''; then
    exit 0
fi

fits() {
    "$1" -c 'import sys, venv; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}
# What a virtual environment was made of: .crossover/env puts .venv first on PATH, and .venv goes away below.
base() {
    "$1" -c 'import sys; print(getattr(sys, "_base_executable", "") or sys.executable)'
}
find_python() {
    for candidate in "${CROSSOVER_PYTHON:-}" python3.13 python3.12 python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python \
        /opt/homebrew/bin/python3.1[32] /usr/local/bin/python3.1[32]; do
        path=$(command -v "${candidate:-none}" 2>/dev/null) && fits "$path" && base "$path" && return 0
    done
    # One that uv downloaded earlier; it is not asked to download here.
    command -v uv >/dev/null 2>&1 || return 1
    path=$(UV_PYTHON_DOWNLOADS=never uv python find --no-project '>=3.12,<3.14' 2>/dev/null) && fits "$path" && base "$path"
}

# Makes one where none is found: uv's own builds, else the distribution's package.
make_python() {
    if command -v uv >/dev/null 2>&1; then
        echo "no Python 3.12 or 3.13 found: asking uv for one" >&2
        if uv python install 3.13 >&2; then find_python && return 0; fi
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq >&2 || true
        for version in 3.13 3.12; do
            if apt-cache show "python$version-venv" 2>/dev/null | grep -q '^Package:'; then
                echo "installing python$version and python$version-venv with apt-get" >&2
                DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-remove "python$version" "python$version-venv" >&2
                find_python && return 0
            fi
        done
    fi
    return 1
}

if [ -n "${CROSSOVER_PYTHON:-}" ] && ! fits "$CROSSOVER_PYTHON"; then
    stop "CROSSOVER_PYTHON=$CROSSOVER_PYTHON is no Python 3.12 or 3.13 with venv; give one, or unset it to have one looked for"
fi
python=$(find_python || make_python) || stop "Crossover needs Python 3.12 or 3.13, and none was found or could be installed.
Install one and run this again: 'uv python install 3.13' (https://docs.astral.sh/uv), 'pyenv install 3.13',
your distribution's python3.13 and python3.13-venv; or name one with CROSSOVER_PYTHON=/path/to/python3.13."

# uv takes seconds where pip takes minutes; where there is none it comes from the lock, by pip.
with_uv() {
    # Progress only where somebody looks.
    quiet=-q
    if [ -t 2 ]; then quiet=; fi
    # shellcheck disable=SC2086
    VIRTUAL_ENV="$PWD/.venv" "$1" pip install $quiet --require-hashes -r "$lock"
}
with_pip() {
    .venv/bin/python -m pip install --disable-pip-version-check --no-input -q --progress-bar on --require-hashes -r "$1"
}

began=$(date +%s)
echo "making .venv with $python ($("$python" -V 2>&1)): under a minute, or some where uv cannot be had" >&2
rm -rf .venv
if uv=$(command -v uv 2>/dev/null) && uv venv -q --python "$python" .venv && with_uv "$uv"; then
    :
else
    rm -rf .venv
    "$python" -m venv .venv
    sed -n '/^uv==/,/[^\\]$/p' "$lock" >.venv/uv.txt
    # Who has no uv has set up pip, whose settings uv does not read: it is told of the index.
    index=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    { with_pip .venv/uv.txt && with_uv .venv/bin/uv; } || with_pip "$lock"
fi
printf '%s\n' "$wanted" >"$stamp"
echo "made .venv in $(($(date +%s) - began)) s" >&2
