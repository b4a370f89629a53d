"""Archives as no `repro pack` makes them, and what is left after they were refused."""

import hashlib
import json
import zipfile

import pytest
from stores import add

from reprostore.errors import FormatError
from reprostore.sharing.archives.reading import MANIFEST
from reprostore.sharing.pack import pack_store
from reprostore.sharing.unpack import unpack
from reprostore.store import create_store
from reprostore.testing.store import run_spec, write_units

README = "README.md"


def small_pack(folder):
    """Return the files of a small pack, by name."""
    store = create_store(folder / "s.zarr", title="Small")
    write_units(add(store, run_spec(), [0, 1, 2]), store.start_session({}))
    pack_store(store, folder / "p.zip")
    with zipfile.ZipFile(folder / "p.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(path, members, extra=()):
    """Write an archive: members by name, then (name or ZipInfo, content) pairs."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*members.items(), *extra]:
            archive.writestr(name, content)
    return path


def listed(members, name, content):
    """Return members whose manifest names one more."""
    manifest = json.loads(members[MANIFEST])
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"][name] = {"bytes": len(content), "sha256": digest}
    return members | {MANIFEST: json.dumps(manifest).encode()}


def info(name, mode=0o100644, **values):
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, mode << 16
    for key, value in values.items():
        setattr(made, key, value)
    return made


def refused(folder, archive, error=FormatError, match=None):
    """Unpack, and make sure that it left nothing behind anywhere near."""
    inner = folder / "deep" / "inner"
    inner.mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    with pytest.raises(error, match=match):
        unpack(archive, inner / "out")
    assert sorted(folder.rglob("*")) == before
    inner.rmdir()
