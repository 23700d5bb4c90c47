"""The HTTP side of the practice cluster: routes, lists, watches, discovery, OpenAPI, and the server itself."""
