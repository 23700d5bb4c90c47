"""A small service as people wrote them for VMs: WSGI on the standard library, state in a file."""

import json
import os
import sqlite3
from wsgiref.simple_server import make_server

DATABASE = os.environ.get("NOTES_DB", "/var/lib/notes/notes.db")


def application(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok\n"]
    connection = sqlite3.connect(DATABASE)
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS visits (path TEXT)")
        connection.execute("INSERT INTO visits VALUES (?)", (environ["PATH_INFO"],))
    [(count,)] = connection.execute("SELECT count(*) FROM visits")
    connection.close()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"visits": count, "greeting": os.environ.get("GREETING", "hello")}).encode()]


if __name__ == "__main__":
    make_server("0.0.0.0", int(os.environ.get("PORT", "8080")), application).serve_forever()
