# Sourced from the repository's root: `source scripts/setup.sh LOCK ...`. It makes .venv and installs what the named locks
# pin, and does so again only when one of them has changed. PYTHON names another interpreter; TANDEM_CUDA=1 adds JAX's CUDA
# packages. .venv/tandem-lock has the checksum of each lock that is installed.

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
    local locks=("$@") stamp=.venv/tandem-lock compile=--no-compile python
    if [ "${TANDEM_CUDA:-0}" = 1 ]; then locks+=(requirements-cuda.lock); fi
    if [ -x .venv/bin/python ] && [ -f "$stamp" ] && sha256sum "${locks[@]}" | installed_all "$stamp"; then return; fi

    if ! .venv/bin/python -c '' 2>/dev/null; then
        python=$(python_of_choice) || return 1
        if ! "$python" -m venv .venv; then
            echo "could not make .venv (on Debian and Ubuntu: apt install python3-venv)" >&2
            return 1
        fi
    fi
    echo "installing the pinned packages into .venv; once only, a minute or two ..." >&2
    # Python compiles a module when it is first imported, and keeps that. Where it may not keep it, every start would take
    # many seconds more, so all modules are compiled now.
    if [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then compile=--compile; fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps "$compile" --require-hashes "${locks[@]/#/--requirement=}" || return 1
    # What ./test.sh has installed stays noted when ./run.sh installs, and the other way round.
    { sha256sum "${locks[@]}"; cat "$stamp" 2>/dev/null; } | awk 'NF == 2 && !seen[$2]++' > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

# Return success if the file $1 has every line that comes in.
installed_all() {
    local line
    while read -r line; do grep -qxF "$line" "$1" || return 1; done
}

set_up "$@" || exit 1
