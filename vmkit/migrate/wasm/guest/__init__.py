"""What runs inside a component. These modules are copied into it and import nothing of vmkit."""
