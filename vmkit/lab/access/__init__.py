"""Who may do what: users, tokens, RBAC, and reviews of both."""
