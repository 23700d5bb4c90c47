"""A guest's files as one rooted, read-only tree: out of a disk, a directory or a tar, never following out of it."""
