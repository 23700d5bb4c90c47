"""What speaks for and against a container or a component: rules as data, each with a small pure function."""
