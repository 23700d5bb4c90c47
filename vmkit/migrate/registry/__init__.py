"""The client of container registries: OCI distribution-spec v1.1, for pushing layouts and pulling them back."""
