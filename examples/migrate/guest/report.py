"""Run by cron: how many visits there were."""

import os
import sqlite3

path = os.environ.get("NOTES_DB", "/var/lib/notes/notes.db")
if os.path.exists(path):
    print(sqlite3.connect(path).execute("SELECT count(*) FROM visits").fetchone()[0])
