#!/bin/bash
# Puts a file at one of ten towers on loopback, kills that tower, and gets the file at another one.
# Prints the times, the CPU time of commands and towers, and the memory of the commands.
# Usage: benches/ten-towers.sh [MIB [OPTION OF THE TOWERS...]]
set -euo pipefail
here=$(realpath "$(dirname "$0")")
mib=${1:-10}
shift || true
cargo build --release --locked --package clacks-cli
clacks=$(realpath "${CARGO_TARGET_DIR:-target}/release/clacks")
folder=$(mktemp -d)
towers=()
stop() {
    kill -KILL "${towers[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
cd "$folder"
export XDG_RUNTIME_DIR=$folder XDG_STATE_HOME=$folder/state
head -c "${mib}M" /dev/urandom >file

# shellcheck source=towers.sh
source "$here/towers.sh"

# start NUMBER [OPTION...]
start() {
    local number=$1
    shift
    "$clacks" tower --listen 127.0.0.1:0 --state "$folder/$number" --control "$folder/$number.sock" "$@" \
        </dev/null >/dev/null 2>&1 &
    towers+=($!)
}

# Returns the CPU time of all running towers, in hundredths of a second.
cpu() {
    local tower sum=0
    for tower in "${towers[@]}"; do
        sum=$((sum + $(awk '{ print $14 + $15 }' "/proc/$tower/stat")))
    done
    echo "$sum"
}

measure() {
    local before after
    before=$(cpu)
    /usr/bin/time -f "$1: %e s, CPU time of the command %U + %S s, memory %M KB" "${@:2}" 2>"$folder/times"
    after=$(cpu)
    tail -n 1 "$folder/times"
    echo "$1: CPU time of the towers $((after - before)) hundredths of a second"
}

start 1 "$@"
wait_for 1 "['peers']['alive']" 0
first=$(status 1 "['address']")
for number in 2 3 4 5 6 7 8 9 10; do start "$number" --announce "$first" "$@"; done
for number in 1 7 10; do wait_for "$number" "['peers']['alive']" 9; done

measure "put" sh -c "'$clacks' put file --tower $first >link"
kill -KILL "${towers[0]}"
unset 'towers[0]'
measure "get" sh -c "'$clacks' get - --tower $(status 7 "['address']") -o copy <link"
cmp file copy
echo "The copies are equal."
