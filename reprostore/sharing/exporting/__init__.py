"""The parts of an export: images, arrays, vectors and the record of what they are."""
