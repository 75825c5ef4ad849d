#!/bin/sh
# Installs the real programs that the tests talk to. Safe to run again: what is there stays.
# Where: $OPS_TEST_TOOLS, else target/test-tools.
set -eu
cd "$(dirname "$0")/.."
tools="${OPS_TEST_TOOLS:-target/test-tools}"
mkdir -p "$tools"

# Debian packages: promtool for our /metrics, faketime for steps of the clock, Python for the SMTP server.
missing=""
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3 python3-venv"
command -v faketime >/dev/null 2>&1 || missing="$missing faketime"
command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
if [ -n "$missing" ]; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of names
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ ! -x "$tools/python/bin/python" ]; then
    python3 -m venv "$tools/python"
fi
if ! "$tools/python/bin/python" -c 'import aiosmtpd, sys; sys.exit(aiosmtpd.__version__ != "1.4.6")' 2>/dev/null; then
    "$tools/python/bin/python" -m pip install --quiet --disable-pip-version-check aiosmtpd==1.4.6
fi
echo "test tools are in $tools"
