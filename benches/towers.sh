# Functions of the scripts that run towers. The command is `$clacks`, and the towers have their
# control sockets in `$folder`.

# Returns the answer of a tower to a question about its state.
status() {
    "$clacks" status --control "$folder/$1.sock" --json 2>/dev/null |
        python3 -c "import json, sys; print(json.load(sys.stdin)$2)"
}

# wait_for NUMBER QUESTION ANSWER
wait_for() {
    for _ in $(seq 300); do
        [[ $(status "$1" "$2" 2>/dev/null) == "$3" ]] && return
        sleep 0.2
    done
    echo "tower $1 is not ready" >&2
    return 1
}
