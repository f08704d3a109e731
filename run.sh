#!/usr/bin/env bash
# ./run.sh                                          three minutes of mazero_seq on mpe: learning is plain to see
# ./run.sh CONFIG ENV_CONFIG [SEED] [key=value ...] any other: ./run.sh mazero_joint smax 2 env_args.map_name=8m
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

case "${1:-}" in
    -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
source scripts/setup.sh

if [ $# -eq 0 ]; then
    exec .venv/bin/python src/main.py --config=mazero_seq --env-config=mpe with seed=1 max_minutes=3
fi
if [ $# -lt 2 ] || [[ "$1$2" == *=* ]]; then
    echo "usage: ./run.sh [CONFIG ENV_CONFIG [SEED] [key=value ...]]   (what there is: python src/main.py list)" >&2
    exit 2
fi
config=$1 env_config=$2
shift 2
settings=()
if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
    settings+=("seed=$1")
    shift
fi
settings+=("$@")
exec .venv/bin/python src/main.py --config="$config" --env-config="$env_config" ${settings[0]+with "${settings[@]}"}
