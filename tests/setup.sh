#!/bin/sh
# Installs the real programs that the tests talk to. Safe to run again: what is there stays.
# Where: $OPS_TEST_TOOLS, else target/test-tools.
set -eu
cd "$(dirname "$0")/.."
tools="${OPS_TEST_TOOLS:-target/test-tools}"
mkdir -p "$tools"

# Debian packages: promtool and Prometheus (one package) as a judge and as a sender, faketime for steps of the clock,
# openssl for certificates, Python for the SMTP server.
missing=""
for tool in promtool prometheus; do
    command -v "$tool" >/dev/null 2>&1 || missing="prometheus"
done
python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3 python3-venv"
command -v faketime >/dev/null 2>&1 || missing="$missing faketime"
command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
if [ -n "$missing" ]; then
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        # Nobody is asked for a password in the middle of a build.
        if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
            echo "tests/setup.sh: these Debian packages are missing, and installing them needs root:" >&2
            echo "    apt-get install --no-install-recommends $missing" >&2
            echo "Without them \`cargo test\` skips what needs them, and says so for each test; with CI set it fails." >&2
            exit 1
        fi
        sudo="sudo"
    fi
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
