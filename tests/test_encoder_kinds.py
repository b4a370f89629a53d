"""Kinds of encoders, each against the library that runs its network."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from reprostore.encoders import encoder_identity, load_encoder
from reprostore.errors import DependencyError, ModelError, NotFoundError, SpecError
from reprostore.specs import EncoderSpec

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 3, 20, 28), dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_downloads(tmp_path, monkeypatch):
    """Nothing of this user's caches is seen, and nothing can be fetched."""
    monkeypatch.setenv("REPROSTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torch.manual_seed(0)


def load(base, images=IMAGES, **spec):
    return load_encoder(EncoderSpec(batch_size=2, **spec), base, images.shape[1:])


def random_statistics(network):
    """Give batch normalizations the statistics that training leaves, so that they matter."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network.eval()


def prepared(images, name):
    """Prepare images one by one with Pillow, as the libraries do."""
    transforms = pytest.importorskip("torchvision.transforms")
    from PIL import Image

    size = {"imagenet": [transforms.Resize(256), transforms.CenterCrop(224)], "none": []}[name]
    values = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    normalize = [] if name == "none" else [transforms.Normalize(*values)]
    whole = transforms.Compose([*size, transforms.ToTensor(), *normalize])
    return torch.stack([whole(Image.fromarray(image.transpose(1, 2, 0))) for image in images])


def assert_same_vectors(found, expected):
    """Agree to what one grey level in some pixels can change."""
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_torchvision_gives_the_input_of_its_last_linear_layer(tmp_path, suffix):
    models = pytest.importorskip("torchvision.models")
    network = random_statistics(models.resnet18(weights=None))
    path = tmp_path / f"net.{suffix}"
    if suffix == "pth":
        torch.save(network.state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(network.state_dict(), path)
    spec = {"kind": "torchvision", "model": "resnet18", "weights": path.name}
    encoder = load(tmp_path, preprocessing="imagenet", **spec)
    network.fc = torch.nn.Identity()
    assert (encoder.metric, encoder.dimension) == ("cosine", 512)
    with torch.no_grad():
        expected = network(prepared(IMAGES, "imagenet"))
    assert_same_vectors(encoder.encode(IMAGES), expected)
    layer = load(tmp_path, preprocessing="imagenet", layer="avgpool", **spec)
    np.testing.assert_allclose(layer.encode(IMAGES), encoder.encode(IMAGES), rtol=1e-4, atol=1e-6)
    with pytest.raises(SpecError, match=r"no layer 'pool'.*avgpool.*fc"):
        load(tmp_path, preprocessing="imagenet", layer="pool", **spec)


def test_weights_of_another_network_are_refused(tmp_path):
    models = pytest.importorskip("torchvision.models")
    state = models.resnet18(weights=None).state_dict()
    spec = {"kind": "torchvision", "model": "resnet18", "weights": "n.pth", "preprocessing": "none"}
    first = "layer1.0.conv1.weight"
    for damage, message in [
        ({first: None}, f"lacks {first}"),
        ({first: torch.zeros(2)}, f"another shape of {first}"),
        ({first: state[first] * torch.nan}, f"{first} is not finite"),
        ({"extra": torch.zeros(2)}, "has extra, of which"),
    ]:
        changed = {k: v for k, v in (state | damage).items() if v is not None}
        torch.save(changed, tmp_path / "n.pth")
        with pytest.raises(ModelError, match=message):
            load(tmp_path, **spec)
    (tmp_path / "n.pth").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no file of weights: it cannot be read"):
        load(tmp_path, **spec)


def test_timm_gives_its_pooled_features_in_its_own_preprocessing(tmp_path):
    timm = pytest.importorskip("timm")
    from PIL import Image

    network = random_statistics(timm.create_model("resnet18.a1_in1k", pretrained=False))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    square = IMAGES[..., :20]  # on a square, Pillow's order of passes is horizontal first
    encoder = load(tmp_path, square, kind="timm", model="resnet18.a1_in1k", weights="net.pth")
    network.reset_classifier(0)
    batch = torch.stack([transform(Image.fromarray(image.transpose(1, 2, 0))) for image in square])
    with torch.no_grad():
        expected = network(batch)
    assert_same_vectors(encoder.encode(square), expected)


def test_dinov2_is_timms_class_token_with_metas_positions(tmp_path):
    timm = pytest.importorskip("timm")
    name = "vit_small_patch14_dinov2"
    whole = timm.create_model(name, pretrained=False, num_classes=0).eval()
    state = whole.state_dict() | {"mask_token": torch.zeros(1, 384)}
    state["pos_embed"] = torch.randn(1, 1370, 384)
    torch.save(state, tmp_path / "net.pth")
    images = RNG.integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)  # not resized
    encoder = load(tmp_path, images, kind="dinov2", model=name, weights="net.pth")
    small = timm.create_model(name, pretrained=False, num_classes=0, img_size=224).eval()
    grid = state["pos_embed"][0, 1:].T.reshape(1, 384, 37, 37)
    factor = (224 / 14 + 0.1) / 37
    grid = torch.nn.functional.interpolate(grid, scale_factor=factor, mode="bicubic")
    positions = torch.cat([state["pos_embed"][:, :1], grid.reshape(1, 384, 256).mT], dim=1)
    small.load_state_dict(whole.state_dict() | {"pos_embed": positions})
    mean, std = (
        torch.tensor(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    with torch.no_grad():
        expected = small.forward_features((torch.from_numpy(images) / 255 - mean) / std)[:, 0]
    np.testing.assert_allclose(encoder.encode(images), expected.numpy(), atol=1e-4)
    state["pos_embed"] = state["pos_embed"][:, :257]
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"pos_embed \(1, 257, 384\).*518×518"):
        load(tmp_path, images, kind="dinov2", model=name, weights="net.pth")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "timm", "model": "resnet18.a1_in1k"}, r"huggingface\.co/timm/resnet18\.a1_in1k"),
        ({"kind": "dinov2", "model": "vit_base_patch14_dinov2"}, r"dinov2\.lvd142m/resolve"),
        (
            {"kind": "torchvision", "model": "resnet18", "weights": "IMAGENET1K_V1"},
            r"download\.pytorch\.org/models/resnet18-f37072fd\.pth",
        ),
    ],
)
def test_nothing_is_downloaded_unasked(tmp_path, spec, message):
    pytest.importorskip("timm")
    for use in (encoder_identity, lambda spec, base: load_encoder(spec, base, (3, 8, 8))):
        with pytest.raises(NotFoundError, match=rf"{message}.*set weights = .*--download"):
            use(EncoderSpec(**spec), tmp_path)


def test_identity_of_a_downloaded_file_needs_no_torch_the_second_time(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file = folder / "resnet18-f37072fd.pth"
    file.write_bytes(b"weights")
    spec = EncoderSpec(kind="torchvision", model="resnet18", weights="IMAGENET1K_V1")
    with pytest.raises(ModelError, match="is damaged"):
        encoder_identity(spec, tmp_path)
    digest = hashlib.sha256(b"weights").hexdigest()
    from reprostore.encoders import library

    facts = library.library_facts("torchvision", "resnet18", "IMAGENET1K_V1")
    facts["url"] = f"https://download.pytorch.org/models/resnet18-{digest[:8]}.pth"
    library._remember(next(iter(library._remembered())), facts)
    file.rename(folder / f"resnet18-{digest[:8]}.pth")
    code = (
        "import sys, pathlib; from reprostore.encoders import encoder_identity as identity;"
        "from reprostore.specs import EncoderSpec as Spec;"
        "spec = Spec(kind='torchvision', model='resnet18', weights='IMAGENET1K_V1');"
        "found = identity(spec, pathlib.Path('.')); assert not {'torch', 'timm'} & {*sys.modules};"
        f"assert found['weights'] == {digest!r}; assert found['preprocessing']['shorter'] == 256"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


FACTORY = """
import numpy as np
class Means:
    metric = "squared_l2"
    def __init__(self, scale): self.scale = scale
    def encode(self, images): return images.mean((2, 3)) * self.scale
def means(device, scale=1.0): return Means(scale)
def integers(device):
    class Integers(Means):
        def encode(self, images): return images.sum((2, 3), dtype=np.int64)
    return Integers(1)
def nothing(device): return 3
"""


def test_python_factory(tmp_path):
    (tmp_path / "faces.py").write_text(FACTORY)
    (tmp_path / "broken.py").write_text("import no_such_module")
    spec = {"kind": "python", "metric": "squared_l2", "options": {"scale": 2.0}}
    encoder = load(tmp_path, factory="faces:means", **spec)
    assert (encoder.metric, encoder.dimension) == ("squared_l2", 3)
    np.testing.assert_allclose(encoder.encode(IMAGES), 2 * IMAGES.mean((2, 3)), rtol=1e-6)
    identity = encoder_identity(EncoderSpec(factory="faces:means", **spec), tmp_path)
    assert identity == {
        "kind": "python",
        "version": 2,
        "metric": "squared_l2",
        "preprocessing": "the factory's own",
        "factory": "means",
        "file": hashlib.sha256(FACTORY.encode()).hexdigest(),
        "options": {"scale": 2.0},
        "files": {},
    }
    (tmp_path / "w.npy").write_bytes(b"weights")
    named = EncoderSpec(kind="python", factory="faces:means", options={"weights": "w.npy"})
    digest = hashlib.sha256(b"weights").hexdigest()
    assert encoder_identity(named, tmp_path)["files"] == {"weights": digest}
    for changes, error, message in [
        ({"options": {"scael": 2.0}}, ModelError, "factory fails: TypeError .*scael"),
        ({"options": {"scale": "x"}}, ModelError, r"encode fails on input of the shape \(2, 3"),
        ({"factory": "broken:means"}, ModelError, "cannot be imported: .*Error"),
        ({"metric": None}, ModelError, "metric 'squared_l2', and the study says 'cosine'"),
        ({"factory": "faces:integers", "options": {}}, ModelError, "output has the type int64"),
        ({"factory": "faces:nothing", "options": {}}, ModelError, "returned a int without encode"),
        ({"factory": "faces:other"}, NotFoundError, "has no function 'other'"),
        ({"factory": "elsewhere:means"}, NotFoundError, "no Python module 'elsewhere'"),
        ({"factory": "faces"}, NotFoundError, "names no module and function"),
        ({"factory": None}, SpecError, "does not name its factory"),
    ]:
        with pytest.raises(error, match=message):
            load(tmp_path, **({"factory": "faces:means"} | spec | changes))


@pytest.mark.parametrize("model", ["googlenet", "inception_v3"])
def test_networks_of_torchvision_see_images_as_they_were_trained_on(tmp_path, model):
    torchvision = pytest.importorskip("torchvision")
    network = random_statistics(
        torchvision.models.get_model(model, weights=None, init_weights=False, transform_input=True)
    )
    torch.save(network.state_dict(), tmp_path / "n.pth")
    images = RNG.integers(0, 256, (2, 3, 80, 80), dtype=np.uint8)
    encoder = load(tmp_path, images, kind="torchvision", model=model, weights="n.pth",
                   preprocessing="imagenet")  # fmt: skip
    network.fc = torch.nn.Identity()
    prepared = encoder._prepare(images)
    with torch.inference_mode():
        expected = network(prepared).numpy()
    np.testing.assert_allclose(encoder.encode(images), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("package", "spec"),
    [
        ("onnxruntime", {"kind": "onnx", "preprocessing": "none"}),
        ("timm", {"kind": "dinov2", "model": "vit_small_patch14_dinov2"}),
        ("torchvision", {"kind": "torchvision", "model": "resnet18", "preprocessing": "none"}),
    ],
)
def test_missing_package_names_the_extra(tmp_path, monkeypatch, package, spec):
    (tmp_path / "n.bin").write_bytes(b"weights")
    for module in ("onnx_network", "timm_network", "torchvision_network"):
        monkeypatch.delitem(sys.modules, f"reprostore.encoders.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf"{package} is not installed.*\[encoders\]"):
        load(tmp_path, weights="n.bin", **spec)
