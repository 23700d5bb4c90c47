"""The rules of the Kubernetes API as pure functions: patches, ownership, selectors, names, schemas, tables."""
