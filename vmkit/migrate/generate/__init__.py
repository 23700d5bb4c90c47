"""From facts and a verdict to artifacts: images to build, and the Kubernetes objects that run them."""
