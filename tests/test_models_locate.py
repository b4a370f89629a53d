import hashlib
import json
import sys

import pytest

from reprostore.errors import ModelError, NotFoundError
from reprostore.models import weight_digests
from reprostore.specs import ModelSpec

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROSTORE_CACHE", str(tmp_path / "cache"))


def write(folder, *names, content="{}"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def digests(source, base):
    return weight_digests(ModelSpec(source=source), base)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_digests_are_sha256_of_the_files_by_name(tmp_path):
    write(tmp_path / "net", "config.json", "scheduler_config.json")
    write(tmp_path / "net", WEIGHTS, content="tensors")
    found = digests("net", tmp_path)
    assert found == {
        name: sha256(tmp_path / "net" / name)
        for name in ("config.json", "scheduler_config.json", WEIGHTS)
    }
    assert digests(str(tmp_path / "net"), tmp_path / "elsewhere") == found


@pytest.mark.parametrize("component", ["unet", "prior"])
def test_a_pipeline_folder_has_the_digests_of_the_flat_one(tmp_path, component):
    write(tmp_path / "flat", "config.json", WEIGHTS, "scheduler_config.json")
    index = {"_class_name": "P", component: ["diffusers", "UNet2DModel"], "scheduler": ["d", "S"]}
    write(tmp_path / "pipe", "model_index.json", content=json.dumps(index))
    write(tmp_path / "pipe", f"{component}/config.json", f"{component}/{WEIGHTS}")
    write(tmp_path / "pipe", "scheduler/scheduler_config.json")
    assert digests("pipe", tmp_path) == digests("flat", tmp_path)


def test_unet_and_scheduler_folders_are_found_without_an_index(tmp_path):
    write(tmp_path, f"unet/{WEIGHTS}", "unet/config.json", "scheduler/scheduler_config.json")
    assert set(digests(".", tmp_path)) == {"config.json", WEIGHTS, "scheduler_config.json"}


def test_safetensors_are_preferred_to_bin_and_other_copies_are_ignored(tmp_path):
    bin_file = "diffusion_pytorch_model.bin"
    write(tmp_path, "config.json", bin_file)
    assert set(digests(".", tmp_path)) == {"config.json", bin_file}
    write(tmp_path, WEIGHTS, "diffusion_pytorch_model.fp16.safetensors")
    assert set(digests(".", tmp_path)) == {"config.json", WEIGHTS}


def test_shards_count_and_a_missing_one_is_named(tmp_path):
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}
    write(tmp_path, "config.json", *shards)
    write(tmp_path, f"{WEIGHTS}.index.json", content=json.dumps(index))
    assert set(digests(".", tmp_path)) == {"config.json", f"{WEIGHTS}.index.json", *shards}
    (tmp_path / shards[1]).unlink()
    with pytest.raises(NotFoundError, match=f"not there: {shards[1]}"):
        digests(".", tmp_path)


def test_pipelines_of_several_networks_are_refused(tmp_path):
    index = {"unet": ["diffusers", "U"], "vqvae": ["diffusers", "V"], "safety": [None, None]}
    write(tmp_path, "model_index.json", content=json.dumps(index))
    with pytest.raises(ModelError, match=r"is made of unet, vqvae\..*one unconditional network"):
        digests(".", tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"has no config.json, nor has its folder unet/"),
        (["config.json"], r"has config.json but no weights\. diffusion_pytorch_model.safetensors"),
    ],
)
def test_folders_without_a_model_are_named(tmp_path, files, message):
    write(tmp_path, "note.txt", *files)
    with pytest.raises(NotFoundError, match=message):
        digests(".", tmp_path)


@pytest.mark.parametrize("source", ["missing", "./org/name", "runs/typo", "a/b/c", "oracel"])
def test_what_is_no_folder_and_no_hub_id_never_asks_the_hub(tmp_path, monkeypatch, source):
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("reprostore.models.locate._locate_on_hub", None)
    with pytest.raises(NotFoundError, match=r"is no folder: .* does not exist.*study file"):
        digests(source, tmp_path)


class Hub:
    """Stands for huggingface_hub: records what it is asked and writes what it has."""

    def __init__(self, folder, files, cached=()):
        self.folder, self.files, self.calls = folder, files, []
        write(folder, ".here", *cached)

    def __call__(self, hub_id, *, local_files_only=False, allow_patterns=()):
        self.calls.append((hub_id, local_files_only))
        if not local_files_only:
            kinds = [pattern.rsplit(".", 1)[1] for pattern in allow_patterns]
            write(self.folder, *[name for name in self.files if name.rsplit(".", 1)[1] in kinds])
        return str(self.folder)


@pytest.fixture
def install_hub(monkeypatch):
    hub_module = pytest.importorskip("huggingface_hub")
    return lambda hub: monkeypatch.setattr(hub_module, "snapshot_download", hub)


def test_a_cached_hub_model_is_used_without_the_network(tmp_path, install_hub):
    hub = Hub(tmp_path / "hub", [], cached=["config.json", WEIGHTS])
    install_hub(hub)
    assert set(digests("org/name", tmp_path)) == {"config.json", WEIGHTS}
    assert hub.calls == [("org/name", True)]


def test_a_partly_cached_hub_model_is_downloaded(tmp_path, install_hub):
    hub = Hub(tmp_path / "hub", ["config.json", WEIGHTS, "x.bin"], cached=["config.json"])
    install_hub(hub)
    assert set(digests("org/name", tmp_path)) == {"config.json", WEIGHTS}
    assert not (tmp_path / "hub" / "x.bin").exists()


def test_a_hub_model_without_safetensors_is_downloaded_as_bin(tmp_path, install_hub):
    hub = Hub(tmp_path / "hub", ["config.json", "diffusion_pytorch_model.bin"])
    install_hub(hub)
    assert set(digests("org/name", tmp_path)) == {"config.json", "diffusion_pytorch_model.bin"}


def test_a_hub_that_cannot_be_reached_is_reported_with_the_folder(tmp_path, install_hub):
    def offline(*_args, **_options):
        raise ConnectionError("no route to host")

    install_hub(offline)
    with pytest.raises(NotFoundError) as caught:
        digests("org/name", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "org/name") in message
    assert "'org/name'" in message
    assert "no route to host" in message


def test_a_factory_is_digested_without_importing_it_or_its_package(tmp_path):
    write(tmp_path / "nets", "__init__.py", "edm.py", content="raise SystemExit")
    found = digests("python:nets.edm:small", tmp_path)
    assert found == {"nets.edm:small": sha256(tmp_path / "nets" / "edm.py")}
    package = digests("python:nets:small", tmp_path)
    assert package == {"nets:small": sha256(tmp_path / "nets" / "__init__.py")}
    assert "nets" not in sys.modules


def test_a_factory_on_the_search_path_is_found(tmp_path, monkeypatch):
    write(tmp_path / "lib", "installed_net.py")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert set(digests("python:installed_net:f", tmp_path)) == {"installed_net:f"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("python:absent_net:f", r"no Python module 'absent_net' beside the study file"),
        ("python:nets", r"names no module and factory"),
        ("python:nets:", r"names no module and factory"),
        ("python:../nets:f", r"names no module and factory"),
    ],
)
def test_a_factory_that_is_not_there_is_named(tmp_path, source, message):
    with pytest.raises(NotFoundError, match=message):
        digests(source, tmp_path)
