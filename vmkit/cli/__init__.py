"""The command line: click commands over `vmkit.api`.

main.py     the ``vmkit`` group: which command lives where, and what every failure looks like
app.py      what a command is handed: the console, the connection, the way results are shown
options.py  options that several commands share, and how options find their environment variables
console.py  the only writer to stdout and stderr

One file a command group. A command parses, calls one method of `vmkit.api.Vmkit`, and shows what it returned.
"""
