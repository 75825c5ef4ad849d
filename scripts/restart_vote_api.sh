#!/bin/sh
# Restarts the vote API.
#
# The incident comes as JSON on stdin. What was done goes to the file $OPS_RESULT; the exit code says whether it worked.
# The deed itself is up to this machine: an executable /etc/ops/restart-vote-api, which gets the same JSON and arguments.
set -eu

hook=/etc/ops/restart-vote-api

# Read all of stdin, so that whoever writes it is never cut off.
incident=$(cat)

result() {
    # Without $OPS_RESULT somebody runs this by hand.
    if [ -n "${OPS_RESULT:-}" ]; then
        printf '{"changed":%s,"message":"%s"}\n' "$1" "$2" >"$OPS_RESULT"
    fi
}

if [ -x "$hook" ]; then
    printf '%s\n' "$incident" | "$hook" "$@"
    result true "restarted the vote API"
else
    echo "would run $hook $*: it is not on this machine, so nothing was changed"
    result false "nothing to restart the vote API with on this machine"
fi
