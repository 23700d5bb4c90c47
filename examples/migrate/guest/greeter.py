"""A service without state: it answers from what it is asked and nothing else."""

import json
import os
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server


def app(environ, start_response):
    name = parse_qs(environ.get("QUERY_STRING", "")).get("name", ["world"])[0]
    body = json.dumps({"greeting": f"{os.environ.get('GREETING', 'hello')}, {name}"}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    make_server("0.0.0.0", 8081, app).serve_forever()
