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
    local title=$1 code=0 began=$SECONDS log=$TALLY_FOLDER/log
    shift
    printf '\n== %s: %s\n' "$title" "$*"
    "$@" 2>&1 | tee "$log" | readable || code=$?
    count_tests "$log" "$code"
    printf '== %s: %s after %s s\n' "$title" "$( ((code == 0)) && echo ok || echo FAILED)" $((SECONDS - began))
    ((code == 0)) || TALLY_FAILED_STEPS+=("$title")
    # shellcheck disable=SC2034 # for the caller
    STEP_CODE=$code
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
    grep -oE 'SKIPPED [^ ]+: .*' "$log" | sort -u >"$TALLY_FOLDER/skipped.now" || true
    skipped_themselves=$(wc -l <"$TALLY_FOLDER/skipped.now")
    sed -nE 's/^test (.*) \.\.\. (ignored.*)$/SKIPPED \1: \2/p' "$log" >>"$TALLY_FOLDER/skipped.now"
    cat "$TALLY_FOLDER/skipped.now" >>"$TALLY_FOLDER/skipped"
    # A test that skips itself has passed in the eyes of cargo.
    ((TALLY_PASSED += passed - skipped_themselves)) || true
    ((TALLY_FAILED += failed)) || true
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
