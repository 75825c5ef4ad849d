#!/bin/sh
# Installs the real programs that the tests talk to. Safe to run again: what is there stays.
# Where: $OPS_TEST_TOOLS, else target/test-tools.
set -eu
cd "$(dirname "$0")/.."
tools="${OPS_TEST_TOOLS:-target/test-tools}"
mkdir -p "$tools"
if [ ! -x "$tools/python/bin/python" ]; then
    python3 -m venv "$tools/python"
fi
if ! "$tools/python/bin/python" -c 'import aiosmtpd, sys; sys.exit(aiosmtpd.__version__ != "1.4.6")' 2>/dev/null; then
    "$tools/python/bin/python" -m pip install --quiet --disable-pip-version-check aiosmtpd==1.4.6
fi
echo "test tools are in $tools"
