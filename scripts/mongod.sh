#!/usr/bin/env bash
# scripts/mongod.sh [FOLDER [PORT]]: a MongoDB server without Docker and without root, until Ctrl-C; its data stay in FOLDER
# (results/mongodb). MONGOD names another mongod than the one that the test packages bring (Linux on x86-64, OpenSSL 3).
set -euo pipefail

case "${1:-}" in
    -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/results/mongodb} port=${2:-27017}

find_mongod() {
    local candidate
    for candidate in "${MONGOD:-}" "$root"/.venv/lib/python3*/site-packages/fiftyone/db/bin/mongod "$(command -v mongod || true)"; do
        if [ -f "$candidate" ]; then
            [ -x "$candidate" ] || chmod +x "$candidate" # pip does not set it
            echo "$candidate"
            return
        fi
    done
    echo "no mongod: ./test.sh installs one, or name yours: MONGOD=/path/to/mongod $0" >&2
    return 1
}

mongod=$(find_mongod)
mkdir -p "$folder"
echo "MongoDB in $folder, log in $folder/mongod.log; record runs there with"
echo "  export TANDEM_MONGO_URL=mongodb://127.0.0.1:$port/sacred"
"$mongod" --dbpath "$folder" --port "$port" --bind_ip 127.0.0.1 --nounixsocket --quiet >> "$folder/mongod.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" || true; exit 0' INT TERM
wait "$server" || { echo "mongod has ended; the last lines of its log:" >&2; tail -n 5 "$folder/mongod.log" >&2; exit 1; }
