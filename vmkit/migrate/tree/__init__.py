"""A guest's files as one rooted, read-only tree: out of a disk, a folder or a tar, never leading out of it."""
