"""Run by cron: how many visits there were."""

import os
import sqlite3
from pathlib import Path

path = os.environ.get("NOTES_DB", "/var/lib/notes/notes.db")
if Path(path).exists():
    print(sqlite3.connect(path).execute("SELECT count(*) FROM visits").fetchone()[0])
