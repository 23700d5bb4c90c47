"""What forbids or endangers an action: vetoes, who else owns a VM, whether the storage can take it. All pure."""
