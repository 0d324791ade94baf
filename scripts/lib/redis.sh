# A Redis for tests: on a free port of the loopback, without persistence, gone afterwards. Sourced.
#
# Knows nothing of the tests; they find it in BALLAST_TEST_REDIS.
# shellcheck shell=bash

REDIS_PID=''
# Why there is none, after start_redis has failed.
REDIS_OBSTACLE=''

# start_redis FOLDER: exports BALLAST_TEST_REDIS. FOLDER gets its log.
start_redis() {
    local folder=$1 port
    if ! has redis-server; then
        REDIS_OBSTACLE="there is no redis-server"
        return 1
    fi
    for _ in {1..20}; do
        # A port in use makes redis-server end at once: then another is tried.
        port=$((20000 + RANDOM % 12000))
        redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$folder" \
            >"$folder/redis.log" 2>&1 </dev/null &
        REDIS_PID=$!
        if redis_is_ready "$folder/redis.log"; then
            export BALLAST_TEST_REDIS=redis://127.0.0.1:$port
            return 0
        fi
        stop_redis
    done
    # shellcheck disable=SC2034 # for the caller
    REDIS_OBSTACLE="redis-server did not start: $(tail -n 1 "$folder/redis.log")"
    return 1
}

# Waits until the log says so, at most 10 s; fails as soon as the process has ended.
redis_is_ready() {
    local log=$1
    for _ in {1..100}; do
        ! grep -q 'Ready to accept connections' "$log" || return 0
        kill -0 "$REDIS_PID" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

stop_redis() {
    [[ -n $REDIS_PID ]] || return 0
    kill "$REDIS_PID" 2>/dev/null || true
    wait "$REDIS_PID" 2>/dev/null || true
    REDIS_PID=''
}
