# Steps of a test run, with headlines and times, and the sum of what they tested. Sourced.
#
# Reads what `cargo test -- --show-output` prints; does not know what is tested.
# shellcheck shell=bash

# tally_start FOLDER: begins a run whose logs lie in FOLDER.
tally_start() {
    TALLY_FOLDER=$1
    TALLY_PASSED=0
    TALLY_FAILED=0
    TALLY_FAILED_STEPS=()
    : >"$TALLY_FOLDER/skipped"
}

# step TITLE COMMAND...: runs the command and counts its tests. STEP_CODE is the command's exit code afterwards.
step() {
    run_step "$@"
    count_step "$1"
}

# timed_step TITLE COMMAND...: a step whose tests measure time. When it fails while the machine's host gave its CPU time
# to others (steal), which no measured time survives, it is done again, twice at most. The last attempt counts.
timed_step() {
    local attempt ticks percent
    for attempt in 1 2 3; do
        ticks=$(cpu_ticks)
        run_step "$@"
        percent=$(stolen_percent "$ticks")
        if ((STEP_CODE == 0 || attempt == 3 || percent < STOLEN_PERCENT_TO_FORGIVE)); then
            break
        fi
        printf '== %s: the host of this machine gave %s %% of its CPU time to others meanwhile: once more\n' \
            "$1" "$percent"
    done
    count_step "$1"
}

# Doses were seen to be exact below it, and up to a third off above it.
readonly STOLEN_PERCENT_TO_FORGIVE=2

# All ticks of all processors since the start, and the stolen ones among them (proc_stat(5)).
cpu_ticks() {
    awk '/^cpu / { print $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9, $9 }' /proc/stat
}

# stolen_percent EARLIER_TICKS: of the ticks since then, rounded down.
stolen_percent() {
    awk -v earlier="$1" -v now="$(cpu_ticks)" 'BEGIN {
        split(earlier, a, " "); split(now, b, " ")
        all = b[1] - a[1]
        print (all > 0 ? int(100 * (b[2] - a[2]) / all) : 0)
    }'
}

run_step() {
    local title=$1 code=0 began=$SECONDS log=$TALLY_FOLDER/log
    shift
    printf '\n== %s: %s\n' "$title" "$*"
    "$@" 2>&1 | tee "$log" | readable || code=$?
    printf '== %s: %s after %s s\n' "$title" "$( ((code == 0)) && echo ok || echo FAILED)" $((SECONDS - began))
    STEP_CODE=$code
}

# count_step TITLE: adds what the last `run_step` tested.
count_step() {
    count_tests "$TALLY_FOLDER/log" "$STEP_CODE"
    ((STEP_CODE == 0)) || TALLY_FAILED_STEPS+=("$1")
}

# skip NAME REASON: for what the caller did not even start.
skip() {
    printf 'SKIPPED %s: %s\n' "$1" "$2" | tee -a "$TALLY_FOLDER/skipped"
}

# Leaves out the lines of tests that passed and what they printed.
readable() {
    sed -u -E '/^successes:$/,/^(failures:|test result:)/{/^(failures:|test result:)/!d}; /^test .* \.\.\. ok$/d' |
        cat -s
}

# count_tests LOG EXIT_CODE
count_tests() {
    local log=$1 code=$2 passed failed skipped_themselves
    read -r passed failed < <(awk '/^test result: / {
        for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i - 1); if ($i == "failed;") f += $(i - 1) }
    } END { print p + 0, f + 0 }' "$log")
    # A step that failed without a failed test: formatting, lints, a build, a crash of the test program.
    ((code == 0 || failed > 0)) || failed=1
    grep -oE 'SKIPPED [^:]+: .*' "$log" | sort -u >"$TALLY_FOLDER/skipped.now" || true
    # More words name a part of a test (`SKIPPED test (flavour): reason`), which did pass the others.
    skipped_themselves=$(grep -cE '^SKIPPED [^ :]+: ' "$TALLY_FOLDER/skipped.now") || true
    sed -nE 's/^test (.*) \.\.\. (ignored.*)$/SKIPPED \1: \2/p' "$log" >>"$TALLY_FOLDER/skipped.now"
    cat "$TALLY_FOLDER/skipped.now" >>"$TALLY_FOLDER/skipped"
    # A test that skips itself has passed in the eyes of cargo.
    ((TALLY_PASSED += passed - skipped_themselves)) || true
    ((TALLY_FAILED += failed)) || true
}

# Holds the counting against a log such as cargo writes; fails with what was counted.
tally_self_test() {
    local TALLY_FOLDER TALLY_PASSED=0 TALLY_FAILED=0 counted
    TALLY_FOLDER=$(mktemp -d)
    cat >"$TALLY_FOLDER/log" <<'END'
test a ... ok
test b ... ignored, a helper
---- a stdout ----
SKIPPED a: it needs root: run it so
SKIPPED a: it needs root: run it so
SKIPPED c (real): no resctrl
SKIPPED d disk limits: no disk
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
END
    count_tests "$TALLY_FOLDER/log" 1
    counted="$TALLY_PASSED $TALLY_FAILED $(wc -l <"$TALLY_FOLDER/skipped")"
    rm -r "$TALLY_FOLDER"
    [[ $counted == '5 2 4' ]] || { printf 'counted %s, not 5 2 4\n' "$counted" && return 1; }
}

# Prints what was skipped and why, what failed, and the closing line. Fails when anything failed.
tally_end() {
    local skipped
    skipped=$(wc -l <"$TALLY_FOLDER/skipped")
    printf '\n== summary\n'
    cat "$TALLY_FOLDER/skipped"
    [[ ${#TALLY_FAILED_STEPS[@]} == 0 ]] || printf 'FAILED %s\n' "${TALLY_FAILED_STEPS[@]}"
    printf '%d passed, %d failed, %d skipped\n' "$TALLY_PASSED" "$TALLY_FAILED" "$skipped"
    ((TALLY_FAILED == 0))
}
