"""What monitoring knows of VMs: one summary type, whoever measured."""
