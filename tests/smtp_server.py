"""A real mail server (aiosmtpd) for tests/it/tell.rs.

usage: smtp_server.py MODE
The first line on stdout is {"port": ..., "ca": path or null}; then one JSON line for every mail accepted.
Ends when stdin is closed.
"""
import asyncio
import json
import logging
import os
import ssl
import subprocess
import sys
import tempfile
import warnings
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

MODE = sys.argv[1]
# What the server thinks of its visitors is not part of the tests' output.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


def say(thing):
    print(json.dumps(thing), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if MODE == "rcpt_4xx" or (MODE == "one_4xx" and address.startswith("second")):
            return "451 4.7.1 greylisted, come back later"
        if MODE == "rcpt_5xx" or (MODE == "one_5xx" and address.startswith("second")):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_QUIT(self, server, session, envelope):
        if MODE == "slow_goodbye":
            await asyncio.sleep(3600)
        return "221 Bye"

    async def handle_DATA(self, server, session, envelope):
        if MODE == "hang_after_data":
            await asyncio.sleep(3600)
        if MODE == "close_after_data":
            server.transport.abort()
            await asyncio.sleep(3600)
        if MODE == "data_4xx":
            return "452 4.3.1 disk full"
        if MODE == "data_5xx":
            return "554 5.7.1 looks like spam"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        plain = mail.get_body(("plain",))
        html = mail.get_body(("html",))
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {k.lower(): str(v) for k, v in mail.items()},
            "text": plain.get_content() if plain else None,
            "html": html.get_content() if html else None,
            "tls": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            "login": session.auth_data.login.decode() if session.auth_data else None,
        })
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b"ops" and data.password == b"pass phrase"
    return AuthResult(success=good, handled=False, auth_data=data)


def self_signed(folder):
    conf, key, cert = (os.path.join(folder, n) for n in ("conf", "key.pem", "cert.pem"))
    with open(conf, "w") as f:
        f.write("[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=localhost\n"
                "[ext]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-config", conf, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


async def silent(reader, writer):
    await asyncio.sleep(3600)


async def main():
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        context, ca, args = None, None, {}
        if MODE in ("starttls", "implicit"):
            context, ca = self_signed(folder)
        if MODE == "starttls":
            args = {"tls_context": context, "require_starttls": True}
        if MODE == "auth":
            args = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False}
        if MODE == "silent":
            server = await asyncio.start_server(silent, "127.0.0.1", 0)
        else:
            server = await loop.create_server(
                lambda: SMTP(Handler(), loop=loop, hostname="test", enable_SMTPUTF8=True, **args),
                "127.0.0.1", 0, ssl=context if MODE == "implicit" else None)
        say({"port": server.sockets[0].getsockname()[1], "ca": ca})
        await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
