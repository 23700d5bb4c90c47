"""OCI image layouts, written and read with nothing but the standard library (image-spec v1.1, image-layout.md)."""
