#!/usr/bin/env bash
# ./test.sh [pytest arguments ...]: all tests, or those named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup.sh
exec .venv/bin/python -m pytest "$@"
