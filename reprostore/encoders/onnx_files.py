"""What can be known of an ONNX file without onnxruntime."""

import mmap
import re
from pathlib import Path

from reprostore.digests import file_digest

_LOCATION = re.compile(rb"\n\x08location\x12(.)", re.DOTALL)
"""How protobuf writes an entry `location` of a tensor whose values lie in another file; then the
length of its value."""


def external_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of every file beside an ONNX file that holds weights of it, by name."""
    names = set()
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return {}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for match in _LOCATION.finditer(content):
                name = content[match.end() : match.end() + match[1][0]]
                names.add(name.decode("utf-8", errors="replace"))
    files = {name: path.parent / name for name in sorted(names) if "\0" not in name}
    return {name: file_digest(file) for name, file in files.items() if file.is_file()}


def depends_on_company(path: Path) -> bool:
    """Say whether a network scales its activations by the range of the whole batch."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"DynamicQuantizeLinear") >= 0
