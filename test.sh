#!/usr/bin/env bash
# ./test.sh [pytest arguments ...]: all tests, or those named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
unset PYTHONDONTWRITEBYTECODE  # tests start hundreds of programs, which would compile all they import anew
source scripts/setup.sh requirements.lock requirements-test.lock
# A test module runs in one process, modules beside each other. Pass -n0 to see a test's output or to debug it.
exec .venv/bin/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
