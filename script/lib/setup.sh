# shellcheck shell=bash
# Sourced by script/setup, script/test and script/demo: makes a fresh Debian 12, Debian 13 or Ubuntu ready.
#
#   . script/lib/setup.sh
#   gantry_setup
#
# installs the host packages of script/lib/ and lab/, makes .venv and the link that makes the checkout importable. With the
# word "lab" the tools that only tests compare with are left out.
# Afterwards .venv/bin is first in PATH and ansible.cfg of the checkout is in force. Nothing is done twice: with
# everything in place it takes a fraction of a second.

GANTRY_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

gantry_say() { printf '==> %s\n' "$*" >&2; }

gantry_die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
    exit 1
}

# Package names of the given lists, without comments.
gantry_package_names() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$@" | sort -u; }

# Install the missing ones of the given lists of packages; say how, and stop, where that takes rights we lack.
gantry_host_packages() {
    local wanted missing present
    wanted=$(gantry_package_names "$@")
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        gantry_say "no apt here: these are taken to be installed: $(echo "$wanted" | tr '\n' ' ')"
        return
    fi
    # Field Provides counts too: a package that another one replaces is not missing.
    # shellcheck disable=SC2016  # the fields are dpkg-query's, not the shell's
    present=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' | sed -n 's/^installed //p' |
        sed -e 's/([^)]*)//g' -e 's/,/ /g' | tr -s ' ' '\n' | sort -u)
    missing=$(comm -23 <(echo "$wanted") <(echo "$present") | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        # Without a terminal nobody can answer sudo's question.
        if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
            as_root=(sudo)
        else
            gantry_die "packages are missing; as root run this once, then try again:" \
                "apt-get update && apt-get install -y --no-install-recommends $missing"
        fi
    fi
    gantry_say "installing host packages: $missing"
    local log
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of names
    if ! { "${as_root[@]}" apt-get update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
    } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        gantry_die "apt-get could not install them; its whole output is in $log" \
            "To mend: apt-get update && apt-get install -y --no-install-recommends $missing"
    fi
    rm -f "$log"
}

# The first Python that ansible-core 2.19 runs on.
gantry_python() {
    local candidate
    for candidate in ${GANTRY_PYTHON:+"$GANTRY_PYTHON"} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    gantry_die "no Python 3.11, 3.12 or 3.13 with the venv module was found; ansible-core 2.19 runs on no other" \
        "To mend: install one, or name it: GANTRY_PYTHON=/path/to/python3.12 $0"
}

# .venv as requirements.lock wants it; made anew when the lock or the Python is another one.
gantry_venv() {
    local python digest stamp="$GANTRY_ROOT/.venv/.made-from" log
    # What is there is used, whichever of the accepted Pythons made it.
    if [ -x "$GANTRY_ROOT/.venv/bin/python" ] && [ -f "$stamp" ] && [ -z "${GANTRY_PYTHON:-}" ]; then
        python=$("$GANTRY_ROOT/.venv/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null || true)
        digest=$(printf '%s' "$python" | cat - "$GANTRY_ROOT/requirements.lock" | sha256sum)
        [ "$digest" != "$(cat "$stamp")" ] || return 0
    fi
    python=$(gantry_python) || exit 1
    digest=$("$python" -c 'import sys; print(sys.version)')
    digest=$(printf '%s' "$digest" | cat - "$GANTRY_ROOT/requirements.lock" | sha256sum)
    if [ -f "$stamp" ] && [ "$digest" = "$(cat "$stamp")" ]; then
        return 0
    fi
    gantry_say "making .venv with $("$python" --version): $(grep -c '^[a-z].*==' "$GANTRY_ROOT/requirements.lock") pinned" \
        "packages, one to three minutes"
    rm -rf "$GANTRY_ROOT/.venv"
    "$python" -m venv "$GANTRY_ROOT/.venv"
    log=$(mktemp)
    # The lock is complete, so nothing is resolved; `pip check` shows if it were not.
    if ! "$GANTRY_ROOT/.venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps \
        --requirement "$GANTRY_ROOT/requirements.lock" </dev/null >"$log" 2>&1 ||
        ! "$GANTRY_ROOT/.venv/bin/python" -m pip check --disable-pip-version-check >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        gantry_die "pip could not install requirements.lock; its whole output is in $log" \
            "To mend: see what it says above; does pip reach its package index from here?"
    fi
    rm -f "$log"
    echo "$digest" >"$stamp"
}

# The checkout as ansible_collections/gantry/cluster. Not committed: a link to a folder has no place in a collection.
gantry_link() {
    local link="$GANTRY_ROOT/collections/ansible_collections/gantry/cluster"
    mkdir -p "$(dirname "$link")"
    [ -L "$link" ] || ln -s ../../.. "$link"
}

gantry_setup() {
    # The lab's too: the test guest runs in QEMU even in the fast tests.
    local lists=("$GANTRY_ROOT/script/lib/host-packages.txt" "$GANTRY_ROOT/lab/host-packages.txt")
    # The tools that tests compare ours with are no part of a demo.
    if [ "${1-}" != lab ]; then lists+=("$GANTRY_ROOT/script/lib/oracle-packages.txt"); fi
    gantry_host_packages "${lists[@]}"
    mkdir -p "$GANTRY_ROOT/.cache"
    # Two commands started at once make one .venv.
    exec 9>"$GANTRY_ROOT/.cache/setup.lock"
    flock 9
    gantry_venv
    gantry_link
    exec 9>&-
    export PATH="$GANTRY_ROOT/.venv/bin:$PATH" VIRTUAL_ENV="$GANTRY_ROOT/.venv"
    export ANSIBLE_CONFIG="$GANTRY_ROOT/ansible.cfg"
    unset ANSIBLE_COLLECTIONS_PATH
}
