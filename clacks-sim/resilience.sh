#!/bin/sh
# Measures how the network does under each bundled attack, and writes RESILIENCE.md.
# Run it in the root of the repository. JOBS is the number of seeds that run at the same time.
set -eu
cargo build --release -p clacks-cli
clacks="${CARGO_TARGET_DIR:-target}/release/clacks"
jobs="${JOBS:-1}"
table=$(mktemp)
before=$(mktemp)
after=$(mktemp)
trap 'rm -f "$table" "$before" "$after"' EXIT

# The off values of all rules against attacks and failures: the column "before".
off="contact_rate=0 odds.lost=4999 odds.dead=1 max_busy_backoff=0s
    max_probe_backoff=0s tried_messages=0 exchange_credit=0 fair_share_from=100
    newcomers=replace_dead friends.burst=64 friends.every=4s strangers.burst=64 strangers.every=4s
    max_unproved=256 claims=believe local_addresses=from_all_links announced_friends=1
    lifetime=off max_lifetime=off"

# run SEEDS SCENARIO [OPTION...]: writes a row for each target
run() {
    seeds=$1
    shift
    "$clacks" sim "$@" --seeds "$seeds" --jobs "$jobs" --markdown
}

# measure SEEDS SCENARIO [OPTION...]
measure() {
    echo "$*" >&2
    printf '\n`clacks sim %s --seeds %s`\n\n' "$(echo "$*" | cut -d' ' -f2-)" "$1"
    echo '| number | seeds | before | after | target | result |'
    echo '|---|---|---|---|---|---|'
    run "$@" >"$after"
    set -- "$@"
    for value in $off; do set -- "$@" --set "tower.$value"; done
    run "$@" >"$before"
    # Both tables have the same rows. The result is that of the second one.
    paste -d'|' "$before" "$after" |
        awk -F'|' -v OFS='|' '{ print "", $2, $3, $4, $11, $12, $13, "" }'
}

# files SEEDS SCENARIO [OPTION...]: files exist with the default configuration alone
files() {
    echo "$*" >&2
    printf '\n`clacks sim %s --seeds %s`\n\n' "$(echo "$*" | cut -d' ' -f2-)" "$1"
    echo '| number | seeds | measured | target | result |'
    echo '|---|---|---|---|---|'
    run "$@"
}

{
    printf '\n## Addresses that do not exist\n'
    measure 1..6 forged-addresses
    measure 1..6 forged-addresses --set role.0.rate=1
    measure 1..6 refusing-addresses
    printf '\n## Sybils\n'
    measure 1..11 sybils
    measure 1..11 full-table
    printf '\n## Towers that drop messages\n'
    measure 1..11 holes
    measure 1..11 holes --set role.0.towers.share=0.3
    measure 1..11 grey-holes
    # Honest towers accept each message with a hold, as stores do with chunks.
    measure 1..11 holes --set hold=1m
    measure 1..11 holes --set hold=10m
    measure 1..11 holes --set role.0.towers.share=0.3 --set hold=10m
    measure 1..11 grey-holes --set hold=10m
    printf '\n## Liars, claims and magnets\n'
    measure 1..11 liars
    measure 1..31 claims
    measure 1..31 claims --set keys=true
    measure 1..11 magnets
    printf '\n## Floods and full queues\n'
    measure 1..6 flood
    measure 1..11 full
    measure 1..11 full-leave
    printf '\n## Failures\n'
    measure 1..11 blackout
    measure 1..11 split
    measure 1..11 long-split
    measure 1..6 long-split --towers 300
    measure 1..11 turnover
    measure 1..6 turnover --set churn.graceful=0
    measure 1..21 broken-links
    printf '\n## Newcomers, discovery, sizes\n'
    measure 1..31 crowd
    measure 1..31 slowloris
    measure 1..31 slowloris --set role.0.hello=true
    measure 1..6 acquaintance
    measure 1..6 acquaintance --set messages.count=50
    measure 1..6 acquaintance --towers 300 --set messages.count=1500 --set target.0.at_most=900
    measure 1..31 mixed-sizes
    # Minutes for each seed.
    measure 1..4 long-split --towers 1000
    measure 1..3 acquaintance --towers 1000 --set messages.count=5000 --set target.0.at_most=3600
    printf '\n## Files\n'
    files 1..31 store-ten
    files 1..61 store-ten --set 'fault.0.towers.range=[0,3]'
    files 1..31 store-ten --set 'fault.0.towers.range=[0,3]' --set files.size=1048576 --set files.count=20
    files 1..4 store-visits
    files 1..11 store-keep
    files 1..4 store-keep --set files.keep=false
    files 1..4 store-holes
    files 1..4 store-holes --time 24h --set role.0.towers.share=0.3 --set target.0.at=24h --set target.1.until=24h
    files 1..4 store-keep --time 24h --set churn.until=24h --set target.1.at=24h --set target.2.until=24h
    files 1..31 store-hops
    files 1..4 store-hops --set files.verify=0
    files 1..31 store-hops --set role.0.lists=dropped
    files 1..31 store-hops --set role.0.lists=forged --set role.0.colludes=true
    files 1..31 store-hops --set role.0.lists=forged --set role.0.colludes=true --set files.verify=3
    files 1..11 store-hops --set role.0.lists=dropped --set role.0.colludes=true
    files 1..11 store-hops --set role.0.lists=dropped --set role.0.colludes=true --set files.verify=3
    files 1..11 store-hops --set role.0.lists=hidden
    for share in 0.05 0.1 0.2; do
        files 1..11 store-spies --set role.0.towers.share=$share
        files 1..11 store-spies --set role.0.towers.share=$share --set files.own=true
    done
    files 1..3 store-spies --set files.direct=true
    files 1..4 store-flood
    files 1..31 store-publish
    files 1..13 store-publish --set tower.hold_below=60
    files 1..11 store-split
    files 1..4 store-split --set files.redundancy=2
    files 1..4 store-lossy
    files 1..4 store-over
    files 1..6 store-decay
    files 1..11 store-radio
} >"$table"

{
    cat <<TEXT
# Resilience

Throughput and losses of the network under attacks and failures, measured in the simulator
(\`clacks sim\`) on real towers in virtual time. \`clacks-sim/resilience.sh\` writes this file.

Each table has the command that repeats the column "after": towers with the default configuration.
The column "before" was measured in the same run with the same seeds and all rules against attacks
and failures off; the script lists their off values. The last seed of a range is excluded. Numbers
are means over the seeds with their 95 % confidence intervals (Student's t). The column "result"
belongs to "after": a target is met if the worse end of the interval meets it. "Of a calm network"
is divided by the same number of the same scenario and seed without roles and faults. "Unknown"
means that the number was not reached within the time of the scenario, in all seeds if no mean is
given. "± 0" means that all seeds have the same number. \`clacks sim NAME --show\` prints a scenario
and says what the attacker does. Networks have 3 to 300 towers where nothing else is said, and
\`blackout\` has 1 000.

Not measured here: attackers that coordinate (except for files), TLS and systems under load. A run is a
function of its scenario and seed, so the numbers do not depend on the machine.

Measured on $(date +%Y-%m-%d): $(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed q), $(uname -sm),
$(rustc --version | cut -d' ' -f1,2).
TEXT
    cat "$table"
} >RESILIENCE.md
