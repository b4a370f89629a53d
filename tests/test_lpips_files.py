"""The files of LPIPS: where they are found, what is refused, what they identify."""

import os
import pickle
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("lpips")
torch = pytest.importorskip("torch")

from lpips_files import images, random_state, save  # noqa: E402

from reprostore.digests import file_digest  # noqa: E402
from reprostore.encoders import lpips_loading, lpips_weights  # noqa: E402
from reprostore.encoders.lpips import LpipsEncoder  # noqa: E402
from reprostore.encoders.lpips_nets import NETS  # noqa: E402
from reprostore.encoders.lpips_weights import (  # noqa: E402
    backbone_file,
    linear_file,
    lpips_identity,
)
from reprostore.errors import (  # noqa: E402
    DependencyError,
    ModelError,
    NotFoundError,
    SpecError,
)


@pytest.fixture(scope="module")
def state():
    return random_state("squeeze")


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def test_features_with_and_without_the_rest_are_the_same(state, tmp_path):
    batch = images(1, (3, 32, 32))
    rest = {"classifier.1.weight": torch.zeros(3), "classifier.1.bias": torch.zeros(3)}
    paths = [
        save(tmp_path / "bare.pth", state, prefix=""),
        save(tmp_path / "features.pth", state),
        tmp_path / "whole.pth",
    ]
    torch.save({f"features.{k}": v for k, v in state.items()} | rest, paths[2])
    found = [LpipsEncoder((3, 32, 32), "squeeze", path, 1).encode(batch) for path in paths]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_weights_of_another_network_are_refused(state, tmp_path):
    path = save(tmp_path / "squeeze.pth", state)
    with pytest.raises(ModelError, match=r"features\.0\.weight has the shape \(64, 3, 3, 3\)") as e:
        LpipsEncoder((3, 32, 32), "alex", path)
    assert "alexnet-owt-7be5be79.pth" in str(e.value)
    last = dict(state)
    del last["12.expand3x3.bias"]
    with pytest.raises(ModelError, match=r"it has no features\.12\.expand3x3\.bias"):
        LpipsEncoder((3, 32, 32), "squeeze", save(path, last))
    wrong = state | {"3.squeeze.bias": torch.full((16,), torch.nan)}
    with pytest.raises(ModelError, match=r"features\.3\.squeeze\.bias is not finite"):
        LpipsEncoder((3, 32, 32), "squeeze", save(path, wrong))


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("what", ["text", "cut", "pickle", "object", "list"])
def test_files_that_are_no_state_dict_are_refused(what, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "net.pth", state)
    if what == "text":
        path.write_text("<html>not found</html>")
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:100_000])
    elif what == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    elif what == "object":
        torch.save({"features.0.weight": Trap()}, path)
    else:
        torch.save([torch.zeros(1)], path)
    with pytest.raises(ModelError, match="damaged or no state dict"):
        LpipsEncoder((3, 32, 32), "squeeze", path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("net", NETS)
def test_the_linear_weights_are_those_of_the_package(net):
    import lpips

    with pytest.MonkeyPatch.context() as patch:
        empty = torch.nn.Sequential()
        patch.setattr(
            lpips.lpips.pn,
            {"alex": "alexnet", "vgg": "vgg16"}.get(net, "squeezenet"),
            lambda **options: empty,
        )
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    found = lpips_loading.load_linear_weights(net)
    assert len(found) == len(model.lins)
    for weights, layer in zip(found, model.lins, strict=True):
        torch.testing.assert_close(weights, layer.model[1].weight.flatten(), rtol=0, atol=0)
        assert (weights >= 0).all()


@pytest.mark.parametrize("value", [-0.1, float("nan"), 0.0])
def test_linear_weights_without_a_square_root_are_refused(value, tmp_path, monkeypatch):
    weights = torch.load(linear_file("vgg"), map_location="cpu", weights_only=True)
    weights["lin2.model.1.weight"][0, 7] = value
    path = tmp_path / "vgg.pth"
    torch.save(weights, path)
    monkeypatch.setattr(lpips_loading, "linear_file", lambda net: path)
    with pytest.raises(ModelError, match=r"lin2\.model\.1\.weight .* not that of LPIPS v0\.1"):
        lpips_loading.load_linear_weights("vgg")


def test_without_the_package_there_are_no_linear_weights(monkeypatch):
    monkeypatch.setattr(lpips_weights, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="perceptual"):
        linear_file("alex")


def test_nothing_is_downloaded_unasked(torch_home, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("asked"))
    with pytest.raises(NotFoundError) as error:
        backbone_file("vgg")
    for part in ("vgg16-397923af.pth", "https://download.pytorch.org/models/", "weights = "):
        assert part in str(error.value)
    assert not torch_home.exists()


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.pth.*alexnet-owt-7be5be79\.pth"):
        backbone_file("alex", tmp_path / "none.pth", download=True)
    with pytest.raises(SpecError, match="'resnet' is no network of LPIPS"):
        backbone_file("resnet", download=True)


def test_a_download_goes_where_torchvision_keeps_it_and_is_checked(torch_home, monkeypatch):
    asked = []

    def download(url, path, hash_prefix, progress):
        asked.append((url, hash_prefix))
        torch.save({}, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ModelError, match="sha256 does not begin with b8a52dc0"):
        backbone_file("squeeze", download=True)
    assert asked == [("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "b8a52dc0")]
    path = torch_home / "squeezenet1_1-b8a52dc0.pth"
    monkeypatch.setattr(lpips_weights, "file_digest", lambda path: "b8a52dc0" + 56 * "0")
    assert backbone_file("squeeze") == backbone_file("squeeze", download=True) == path
    assert len(asked) == 1
    assert str(path.parents[1]) == torch.hub.get_dir()


def test_a_download_that_fails_is_explained(torch_home, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(NotFoundError, match=r"cannot be downloaded .*Name or service not known"):
        backbone_file("alex", download=True)


def test_torchvision_takes_its_weights_from_the_same_places():
    from torchvision.models import get_model_weights

    for net in NETS.values():
        assert get_model_weights(net.architecture)["IMAGENET1K_V1"].url == net.url


def test_the_identity_names_both_files_and_needs_no_torch(state, tmp_path):
    path = save(tmp_path / "net.pth", state)
    found = lpips_identity("squeeze", path)
    assert found["weights"] == file_digest(path)
    assert found["linear_weights"] == file_digest(linear_file("squeeze"))
    assert (found["kind"], found["metric"], found["net"]) == ("lpips", "squared_l2", "squeeze")
    code = (
        "import sys, pathlib\n"
        "from reprostore.encoders.lpips_weights import lpips_identity\n"
        "lpips_identity('squeeze', pathlib.Path(sys.argv[1]))\n"
        "assert not {'torch', 'torchvision', 'lpips'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    other = lpips_identity("squeeze", save(tmp_path / "other.pth", state, prefix=""))
    assert other["weights"] != found["weights"]


def test_torchs_own_folder_for_downloads_is_found(monkeypatch):
    assert find_spec("torch")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    for cache in ("/elsewhere", None):
        if cache:
            monkeypatch.setenv("XDG_CACHE_HOME", cache)
        else:
            monkeypatch.delenv("XDG_CACHE_HOME")
        assert str(lpips_weights._torch_home() / "hub") == torch.hub.get_dir()
