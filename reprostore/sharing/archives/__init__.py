"""A pack as files: its manifest, and reading and writing its archive or folder."""
