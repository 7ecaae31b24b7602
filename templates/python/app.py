"""A service on port 8080 that counts its visitors; `app.py health` asks it whether it answers, since nothing else is there to ask with."""

import signal
import sqlite3
import ssl
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

visitors = sqlite3.connect(":memory:")
visitors.execute("create table visit (path text)")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        visitors.execute("insert into visit values (?)", (self.path,))
        (count,) = visitors.execute("select count(*) from visit").fetchone()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello, visitor {count}\n".encode())


def health():
    with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5) as answer:
        sys.exit(answer.status != 200)


def serve():
    # The first process of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("listening on 8080")
    HTTPServer(("", 8080), Answer).serve_forever()


match sys.argv[1:]:
    case ["--version"]:
        authorities = len(ssl.create_default_context().get_ca_certs())
        print(f"app 1.0: {ssl.OPENSSL_VERSION}, SQLite {sqlite3.sqlite_version}, {authorities} certificate authorities")
    case ["health"]:
        health()
    case _:
        serve()
