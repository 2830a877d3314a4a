#!/bin/bash
# Keeps a file of 1 MiB alive in ten towers on loopback, while one tower after the other is killed or
# stopped, and starts again without the pieces that it had. Then gets the file.
# Usage: benches/churn.sh [MINUTES]
set -euo pipefail
here=$(realpath "$(dirname "$0")")
minutes=${1:-60}
cargo build --release --locked --package clacks-cli
clacks=$(realpath "${CARGO_TARGET_DIR:-target}/release/clacks")
folder=$(mktemp -d)
# By the number of the tower.
declare -A towers addresses
keeper=
stop() {
    kill -KILL "${towers[@]}" $keeper 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
cd "$folder"
export XDG_RUNTIME_DIR=$folder XDG_STATE_HOME=$folder/state
head -c 1M /dev/urandom >file

# shellcheck source=towers.sh
source "$here/towers.sh"

# Starts a tower, at the address that it had before if it had one.
# start NUMBER [OPTION...]
start() {
    local number=$1
    shift
    "$clacks" tower --listen "${addresses[$number]:-127.0.0.1:0}" --state "$folder/$number" \
        --control "$folder/$number.sock" "$@" </dev/null >"$folder/$number.log" 2>&1 &
    towers[$number]=$!
}

start 1
wait_for 1 "['peers']['alive']" 0
addresses[1]=$(status 1 "['address']")
for number in 2 3 4 5 6 7 8 9 10; do start "$number" --announce "${addresses[1]}"; done
for number in 1 2 3 4 5 6 7 8 9 10; do
    wait_for "$number" "['peers']['alive']" 9
    addresses[$number]=$(status "$number" "['address']")
done

"$clacks" put file --tower "${addresses[1]}" >link 2>put.log
options=()
for number in 1 2 3 4 5; do options+=(--tower "${addresses[$number]}"); done
"$clacks" keep - "${options[@]}" --json <link >keep.log 2>&1 &
keeper=$!

killed=0 stopped=0
end=$((SECONDS + minutes * 60))
while ((SECONDS < end)); do
    sleep $((RANDOM % 30 + 30))
    number=$((RANDOM % 10 + 1))
    if ((RANDOM % 3 == 0)); then
        kill -KILL "${towers[$number]}"
        killed=$((killed + 1))
    else
        kill -TERM "${towers[$number]}"
        stopped=$((stopped + 1))
    fi
    wait "${towers[$number]}" 2>/dev/null || true
    sleep $((RANDOM % 20))
    start "$number" --announce "${addresses[$((number % 10 + 1))]}"
    kill -0 $keeper || { echo "the keeper has ended:"; tail -n 3 keep.log; exit 1; }
done

echo "$killed towers were killed and $stopped stopped in $minutes minutes."
echo "The keeper checked $(grep -c '"health"' keep.log || true) times, and repaired $(grep -c '"repair"' keep.log || true) times."
wait_for 7 "['peers']['alive']" 9 || true
"$clacks" get - --tower "${addresses[7]}" -o copy <link 2>get.log || { cat get.log; exit 1; }
cmp file copy
echo "The copies are equal."
