#!/bin/sh
# Takes back the docket rule that was released last.
#
# The incident comes as JSON on stdin. What was done goes to the file $OPS_RESULT; the exit code says whether it worked.
# The deed itself is up to this machine: an executable /etc/ops/rollback-docket-rule, which gets the same JSON and arguments.
set -eu

hook=/etc/ops/rollback-docket-rule

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
    result true "took back the last docket rule"
else
    echo "would run $hook $*: it is not on this machine, so nothing was changed"
    result false "nothing to take back the docket rule with on this machine"
fi
