"""How values look: tables, lines, JSON, YAML, CSV. Values in, text out; nothing here prints or asks a terminal."""
