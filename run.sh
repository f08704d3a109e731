#!/usr/bin/env bash
# ./run.sh                                           three minutes of mazero_seq on mpe: learning is plain to see
# ./run.sh CONFIG ENV_CONFIG [key=value ...]         any other, once: ./run.sh mazero_joint smax env_args.map_name=8m
# ./run.sh CONFIG ENV_CONFIG SEEDS [key=value ...]   several seeds: 3 (that many), 1,4,7 or 2-5; as many at once as fit,
#                                                    or JOBS=2 ./run.sh ...; call it again to go on where it was cut off
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

case "${1:-}" in
    -h | --help) sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
source scripts/setup.sh requirements.lock

if [ $# -eq 0 ]; then
    exec .venv/bin/python src/main.py --config=mazero_seq --env-config=mpe with seed=1 max_minutes=3
fi
if [ $# -lt 2 ] || [[ "$1$2" == *=* ]]; then
    echo "usage: ./run.sh [CONFIG ENV_CONFIG [SEEDS] [key=value ...]]   (what there is: python src/main.py list)" >&2
    exit 2
fi
configs=("--config=$1" "--env-config=$2")
shift 2
if [ $# -eq 0 ] || [[ "$1" == *=* ]]; then
    exec .venv/bin/python src/main.py "${configs[@]}" ${1+with "$@"}
fi
seeds=$1
shift
exec .venv/bin/python src/main.py batch "${configs[@]}" "--seeds=$seeds" ${1+with "$@"}
