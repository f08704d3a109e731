#!/usr/bin/env bash
# Makes requirements.lock and requirements-cuda.lock anew from pyproject.toml; to be run after a dependency has changed.
# It keeps the pins that still fit; `scripts/lock.sh --upgrade` takes the newest versions that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

.venv/bin/python -m uv --version > /dev/null 2>&1 || .venv/bin/python -m pip install --quiet uv
compile=(.venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header "$@")

"${compile[@]}" pyproject.toml --extra pettingzoo --group test --output-file requirements.lock > /dev/null

# The CUDA lock holds only what requirements.lock does not.
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
sed -n 's/^\([a-zA-Z0-9._-]*==[^\\]*[^\\ ]\).*$/\1/p' requirements.lock > "$pins"
shared=()
while read -r pin; do shared+=(--no-emit-package "${pin%%==*}"); done < "$pins"
"${compile[@]}" pyproject.toml --extra cuda --constraint "$pins" "${shared[@]}" \
    --output-file requirements-cuda.lock > /dev/null

if grep -nE '://|^--|^-i' requirements.lock requirements-cuda.lock; then
    echo "a lock names a registry; it would not install elsewhere" >&2
    exit 1
fi
