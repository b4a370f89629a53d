"""What can be known of an ONNX file without onnxruntime."""

import mmap
import re
from pathlib import Path

from reprostore.digests import file_digest
from reprostore.errors import NotFoundError

_LOCATION = re.compile(rb"\n\x08location\x12([\x80-\xff]*[\x00-\x7f])", re.DOTALL)
"""How protobuf writes an entry `location` of a tensor whose values lie in another file; then the
length of its value, seven bits in each byte, the lowest first."""


def external_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of every file beside an ONNX file that holds weights of it, by name.

    Raises
    ------
    NotFoundError
        One of them is missing.
    """
    names = set()
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return {}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for match in _LOCATION.finditer(content):
                length = sum((byte & 127) << 7 * place for place, byte in enumerate(match[1]))
                name = content[match.end() : match.end() + length]
                names.add(name.decode("utf-8", errors="replace"))
    files = {name: path.parent / name for name in sorted(names) if "\0" not in name}
    for beside in files.values():
        if not beside.is_file():
            raise NotFoundError(
                f"The file {beside} does not exist.",
                f"{path} keeps weights in it, by this name.",
                "Download it beside the ONNX file.",
            )
    return {name: file_digest(beside) for name, beside in files.items()}


def depends_on_company(path: Path) -> bool:
    """Say whether a network scales its activations by the range of the whole batch."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"DynamicQuantize") >= 0  # …Linear, and what it is fused into
