"""From a tree to facts: one module a kind of fact, each a function from the tree to values.

They read, they never run anything; what they cannot make sense of they leave out and say so.
"""
