# Sourced by run.sh and test.sh from the repository's root: makes .venv, installs what requirements.lock pins, and does
# so again only when the lock has changed. PYTHON names another interpreter, TANDEM_CUDA=1 adds JAX's CUDA packages.

python_of_choice() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Tandem needs Python 3.11 or newer; install it or name one: PYTHON=/path/to/python3.11 $0" >&2
    return 1
}

set_up() {
    local locks=(requirements.lock) stamp=.venv/tandem-lock checksum python
    if [ "${TANDEM_CUDA:-0}" = 1 ]; then locks+=(requirements-cuda.lock); fi
    checksum=$(cat "${locks[@]}" | sha256sum | cut -d ' ' -f 1)
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$checksum" ]; then return; fi

    if ! .venv/bin/python -c '' 2>/dev/null; then
        python=$(python_of_choice) || return 1
        if ! "$python" -m venv .venv; then
            echo "could not make .venv (on Debian and Ubuntu: apt install python3-venv)" >&2
            return 1
        fi
    fi
    echo "installing the pinned packages into .venv; once only, a minute or two ..." >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes "${locks[@]/#/--requirement=}" || return 1
    echo "$checksum" > "$stamp"
}

set_up || exit 1
