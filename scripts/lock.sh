#!/usr/bin/env bash
# Makes the three locks anew from pyproject.toml; to be run after a dependency has changed.
#   requirements.lock       what a run needs, with the environments' packages
#   requirements-test.lock  what tests and documentation need beside it
#   requirements-cuda.lock  what a CUDA machine needs beside it
# It keeps the pins that still fit; `scripts/lock.sh --upgrade` takes the newest versions that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=${UV:-.venv/bin/uv}
command -v "$uv" > /dev/null || .venv/bin/python -m pip install --quiet uv
compile=("$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header "$@")

"${compile[@]}" pyproject.toml --extra mabrax --extra pettingzoo --output-file requirements.lock > /dev/null

# The others hold only what requirements.lock does not, in versions that fit it.
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
sed -n 's/^\([a-zA-Z0-9._-]*==[^\\]*[^\\ ]\).*$/\1/p' requirements.lock > "$pins"
shared=()
while read -r pin; do shared+=(--no-emit-package "${pin%%==*}"); done < "$pins"
beside=("${compile[@]}" pyproject.toml --constraint "$pins" "${shared[@]}")

"${beside[@]}" --extra data --extra export --extra trackers --group test --group docs \
    --output-file requirements-test.lock > /dev/null
"${beside[@]}" --extra cuda --output-file requirements-cuda.lock > /dev/null

if grep -nE '://|^--|^-i' requirements.lock requirements-test.lock requirements-cuda.lock; then
    echo "a lock names a registry; it would not install elsewhere" >&2
    exit 1
fi
