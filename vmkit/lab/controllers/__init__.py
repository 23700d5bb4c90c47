"""The control loops of kube-controller-manager and the kubelets that the practice cluster stands in for."""
