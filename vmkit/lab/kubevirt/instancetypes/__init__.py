"""Instance types and preferences: the common ones, how a VM finds its own, and what they do to it."""
