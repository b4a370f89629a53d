import json
import os
import pickle
import shutil

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.utils import logging as diffusers_logging  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from reprostore.errors import ModelError, NotFoundError, SpecError  # noqa: E402
from reprostore.models import load_model  # noqa: E402
from reprostore.models.base import DiffusersModel  # noqa: E402
from reprostore.samplers.schedule import reference_scheduler  # noqa: E402
from reprostore.specs import ModelSpec  # noqa: E402
from reprostore.testing.models import DDPM_CONFIG, tiny_checkpoint  # noqa: E402

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", sample_size=8, channels=2)


@pytest.fixture
def copy(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "copy")


def load(folder, dtype="float32", **spec):
    return load_model(ModelSpec(source=str(folder), **spec), folder, "cpu", dtype)


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_checkpoint_computes_what_diffusers_computes(checkpoint):
    model = load(checkpoint)
    assert isinstance(model, DiffusersModel)
    assert model.sample_shape == (2, 8, 8)
    assert model.sample_dims == ("channel", "y", "x")
    assert model.scheduler_config == DDPM_CONFIG
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = diffusers.UNet2DModel.from_pretrained(checkpoint)(x, 7).sample
        assert torch.equal(model.output(x, torch.tensor(7)), expected)


def test_a_model_with_dropout_repeats_itself(copy):
    edit(copy / "config.json", dropout=0.5)
    model, x = load(copy), torch.ones(1, 2, 8, 8)
    assert torch.equal(model.output(x, torch.tensor(7)), model.output(x, torch.tensor(7)))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_models_compute_in_the_dtype_that_is_asked_for(checkpoint, dtype):
    model = load(checkpoint, dtype)
    assert model.dtype == getattr(torch, dtype)
    assert {p.dtype for p in model.network.parameters()} == {model.dtype}
    x = torch.zeros(1, 2, 8, 8)
    assert model.output(x, torch.tensor(0)).dtype == torch.float32


def test_loading_leaves_global_state_alone(checkpoint, capfd):
    torch.manual_seed(0)
    before, verbosity = torch.random.get_rng_state(), diffusers_logging.get_verbosity()
    load(checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert diffusers_logging.get_verbosity() == verbosity
    assert capfd.readouterr() == ("", "")


def test_bin_weights_equal_safetensors(checkpoint, copy):
    torch.save(load_file(copy / WEIGHTS), copy / "diffusion_pytorch_model.bin")
    (copy / WEIGHTS).unlink()
    x = torch.ones(1, 2, 8, 8)
    found, expected = (load(each).output(x, torch.tensor(3)) for each in (copy, checkpoint))
    assert torch.equal(found, expected)


class Exploit:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_pickled_code_is_not_executed(copy, tmp_path, writer):
    (copy / WEIGHTS).unlink()
    writer({"a": Exploit(tmp_path / "pwned")}, copy / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match=r"cannot be loaded.*damaged or incomplete"):
        load(copy)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_truncated_weights_are_refused(copy, keep):
    content = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(content[:keep])
    with pytest.raises(ModelError) as caught:
        load(copy)
    message = str(caught.value)
    assert str(copy) in message
    assert WEIGHTS in message
    assert "copy or download the checkpoint again" in message
    assert "\n" not in message


def test_missing_and_unknown_tensors_are_refused(copy):
    tensors = load_file(copy / WEIGHTS)
    save_file({k: v for k, v in tensors.items() if k != "conv_in.bias"}, copy / WEIGHTS)
    with pytest.raises(ModelError, match=r"do not fit its config.json: 1 tensors.*conv_in.bias"):
        load(copy)
    save_file(tensors | {"extra": torch.zeros(1)}, copy / WEIGHTS)
    with pytest.raises(ModelError, match=r"do not fit.*such as extra"):
        load(copy)


def test_weights_of_another_width_are_refused(copy, tmp_path):
    other = tiny_checkpoint(tmp_path / "other", channels=2, block_out_channels=(16, 16))
    shutil.copy(other / WEIGHTS, copy / WEIGHTS)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"_class_name": "UNet9DModel"}, r"'UNet9DModel', which is no model of diffusers"),
        ({"_class_name": "DDPMScheduler"}, r"'DDPMScheduler', which is no model"),
        ({"_class_name": None}, r"names the class None"),
        ({"sample_size": None}, r"sample_size = None\. An image model has"),
        ({"sample_size": [8, 8, 8]}, r"sample_size = \[8, 8, 8\]"),
        ({"num_class_embeds": 10}, r"num_class_embeds = 10: the model is conditioned"),
        ({"out_channels": 4}, r"2 channels in and 4 out.*learned variances are not supported"),
        ({"sample_size": 7}, r"cannot be called with a sample and a timestep"),
    ],
)
def test_what_is_no_unconditional_image_model_is_refused(copy, values, message):
    edit(copy / "config.json", **values)
    with pytest.raises(ModelError, match=message):
        load(copy)


def test_text_conditional_models_are_refused(tmp_path):
    diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    ).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"cannot be called.*encoder_hidden_states"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "scheduler_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_broken_configs_are_named(copy, name, content):
    (copy / name).write_text(content)
    with pytest.raises(ModelError, match=f"{name} is not valid JSON"):
        load(copy)


def test_non_square_images(tmp_path):
    folder = tiny_checkpoint(tmp_path / "wide", sample_size=[4, 8])
    assert load(folder).sample_shape == (1, 4, 8)


def test_a_noise_schedule_may_come_from_the_spec_but_not_twice(checkpoint, tmp_path):
    bare = tiny_checkpoint(tmp_path / "bare", scheduler=None)
    with pytest.raises(ModelError, match=r"has no noise schedule.*Add noise_schedule"):
        reference_scheduler(load(bare))
    schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    scheduler = reference_scheduler(load(bare, noise_schedule=schedule))
    assert scheduler.config.prediction_type == "v_prediction"
    with pytest.raises(ModelError, match=r"has a noise schedule of its own.*Remove"):
        load(checkpoint, noise_schedule=schedule)


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ({"prediction_type": "sample"}, ModelError, r"has only prediction_type.*beta_schedule"),
        ({"beta_shedule": "linear"}, SpecError, r"'beta_shedule'. Did you mean 'beta_schedule'"),
        ({"beta_schedule": "lin"}, ModelError, r"refuses its configuration"),
        ({"_class_name": "NoScheduler"}, ModelError, r"no scheduler of diffusers"),
        ({"_class_name": "UNet2DModel"}, ModelError, r"no scheduler of diffusers"),
        ({"_class_name": "ScoreSdeVeScheduler"}, ModelError, r"no variance-preserving"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, ModelError, r"no variance-pres"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"},
            ModelError,
            r"predicts 'flow_prediction'",
        ),
    ],
)
def test_noise_schedules_that_cannot_be_used_are_refused(tmp_path, schedule, error, message):
    bare = tiny_checkpoint(tmp_path / "bare", scheduler=None)
    with pytest.raises(error, match=message):
        reference_scheduler(load(bare, noise_schedule=schedule))


FACTORY = """
from dataclasses import dataclass
from reprostore.models.base import Denoiser

@dataclass
class Scale:
    value: float = {value}

def small(device, dtype):
    import torch
    from helper_of_the_net import shape
    return Denoiser(
        denoise=lambda x, sigma: x * Scale().value,
        sample_shape=shape, device=device, dtype=dtype,
    )

nothing = lambda device, dtype: None
"""


@pytest.fixture
def factory(tmp_path):
    def write(value, folder="study"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "net_of_the_study.py").write_text(FACTORY.format(value=value))
        (tmp_path / folder / "helper_of_the_net.py").write_text("shape = (2,)")
        return tmp_path / folder

    return write


def load_factory(base, name="small", **spec):
    source = f"python:net_of_the_study:{name}"
    return load_model(ModelSpec(source=source, **spec), base, "cpu", "float64")


def test_a_factory_gets_device_and_dtype_and_modules_beside_the_study(factory):
    model = load_factory(factory(2.0))
    assert model.dtype == torch.float64
    assert model(torch.ones(1, 2), 1.0).tolist() == [[2.0, 2.0]]


def test_an_edited_factory_and_that_of_another_study_are_read_anew(factory):
    ones = torch.ones(1, 2)
    assert load_factory(factory(2.0))(ones, 1.0)[0, 0] == 2
    assert load_factory(factory(33.0))(ones, 1.0)[0, 0] == 33
    assert load_factory(factory(4.0, "other"))(ones, 1.0)[0, 0] == 4


def test_a_factory_takes_the_noise_schedule_of_the_spec(factory):
    schedule = {"beta_schedule": "linear"}
    model = load_factory(factory(2.0), noise_schedule=schedule)
    assert model.scheduler_config == schedule


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("large", NotFoundError, r"has no function 'large'"),
        ("nothing", ModelError, r"returned a NoneType.*Denoiser or a DiffusersModel"),
    ],
)
def test_factories_that_give_no_model_are_refused(factory, name, error, message):
    with pytest.raises(error, match=message):
        load_factory(factory(2.0), name)
