import pytest

from reprostore.errors import ModelError, SpecError
from reprostore.samplers import TESTED, canonical_scheduler, known_schedulers


@pytest.mark.parametrize("name", list(TESTED))
def test_class_names_and_short_names_are_the_same_scheduler(name):
    assert canonical_scheduler(name) == name
    assert canonical_scheduler(TESTED[name].short) == name
    assert TESTED[name].short in known_schedulers()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("dimm", "'ddim'"),
        ("DDIM", "'ddim'"),
        ("DDIMSheduler", "'DDIMScheduler'"),
        ("LMSDiscreteScheduler", "'EulerDiscreteScheduler'"),
        ("edm_heun", "'edm-heun'"),
    ],
)
def test_unknown_schedulers_are_refused_with_the_nearest_and_the_list(name, suggestion):
    with pytest.raises(SpecError) as caught:
        canonical_scheduler(name)
    message = str(caught.value)
    assert f"{name!r} is unknown or not tested. Did you mean {suggestion}?" in message
    assert all(f"{full} ({solver.short})" in message for full, solver in TESTED.items())


def test_nothing_is_suggested_for_something_else():
    with pytest.raises(SpecError, match=r"'zzzz' is unknown or not tested\. Tested are"):
        canonical_scheduler("zzzz")


torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from reprostore.canonical import to_jsonable  # noqa: E402
from reprostore.models.checkpoint import quiet_diffusers  # noqa: E402
from reprostore.samplers import build_sampler  # noqa: E402
from reprostore.specs import SamplerSpec  # noqa: E402
from reprostore.testing.models import (  # noqa: E402
    DDPM_CONFIG,
    gaussian_denoiser,
    gaussian_network,
    timestep_noise_level,
)

DIFFUSERS = [name for name, it in TESTED.items() if it.library == "diffusers" and not it.flow]
MEAN, VARIANCE = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)


def denoiser(**config):
    return gaussian_denoiser(MEAN, VARIANCE, {**DDPM_CONFIG, **config})


def build(scheduler, steps=10, model=None, **spec):
    return build_sampler(SamplerSpec(scheduler=scheduler, steps=steps, **spec), model or denoiser())


@pytest.mark.parametrize("name", DIFFUSERS)
def test_the_noise_schedule_is_the_models_and_not_the_solvers_default(name):
    config = {**DDPM_CONFIG, "beta_start": 0.0002, "beta_end": 0.018}
    level = timestep_noise_level(config)
    sampler = build(name, record="all", model=denoiser(beta_start=0.0002, beta_end=0.018))
    expected = [level(timestep) for timestep in sampler.timestep[:-1]]
    torch.testing.assert_close(
        torch.tensor(sampler.sigma[:-1]), torch.tensor(expected, dtype=torch.float64),
        rtol=1e-6, atol=0,
    )  # fmt: skip


@pytest.mark.parametrize("name", DIFFUSERS)
def test_a_config_with_defaults_left_out_means_the_defaults_of_its_own_class(name):
    full = build(name, record="all")
    short = {k: v for k, v in DDPM_CONFIG.items() if k in ("_class_name", "clip_sample")}
    sparse = build(name, record="all", model=gaussian_denoiser(MEAN, VARIANCE, short))
    assert sparse.sigma.tolist() == full.sigma.tolist()


def test_the_hazard_that_this_guards_against_exists():
    with quiet_diffusers():
        config = diffusers.DDPMScheduler().config
        heun = diffusers.HeunDiscreteScheduler.from_config(config)
    assert not torch.allclose(heun.alphas_cumprod, diffusers.DDPMScheduler().alphas_cumprod)


def test_a_schedule_that_a_solver_cannot_follow_is_refused():
    model = denoiser(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    with pytest.raises(ModelError, match=r"HeunDiscreteScheduler cannot be given.*ᾱ differs"):
        build("heun", model=model)
    with pytest.raises(ModelError, match=r"EulerDiscreteScheduler refuses its configuration"):
        build("euler", model=denoiser(beta_schedule="sigmoid"))


def test_pure_noise_is_refused_where_noise_prediction_cannot_leave_it():
    zero_snr = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    with pytest.raises(ModelError, match=r"starts at pure noise.*timestep_spacing"):
        build("ddim", model=denoiser(**zero_snr, prediction_type="epsilon"))
    model = gaussian_network(MEAN, VARIANCE, lambda t: 1e6, "v_prediction", **zero_snr)
    assert build("ddim", record="all", model=model).sigma[0] == float("inf")
    assert build("ddim", record="all", model=model).alpha[0] == 0


def test_sample_prediction_is_refused_where_diffusers_does_not_define_it():
    with pytest.raises(ModelError, match=r"EulerAncestral.* not defined for .*'sample'"):
        build("euler-ancestral", model=denoiser(prediction_type="sample"))


@pytest.mark.parametrize(
    ("scheduler", "options", "message"),
    [
        ("ddim", {"clip_smaple": True}, r"no option 'clip_smaple'. Did you mean 'clip_sample'"),
        ("ddim", {"beta_start": 0.1}, r"no option 'beta_start'.*belong to the model"),
        ("ddim", {"prediction_type": "sample"}, r"no option 'prediction_type'"),
        ("dpmsolver", {"use_flow_sigmas": True}, r"no option 'use_flow_sigmas'"),
        ("dpmsolver", {"solver_type": "rk"}, r"refuses its configuration: rk is not"),
        ("ddim", {"timestep_spacing": "odd"}, r"cannot take 10 steps: odd is not supported"),
        ("edm-heun", {"sigma_mx": 3}, r"no option 'sigma_mx'. Did you mean 'sigma_max'"),
        ("edm-heun", {"rho": 0}, r"has rho = 0\. rho is a number above 0"),
        ("edm-heun", {"sigma_min": "a"}, r"has sigma_min = 'a'"),
        ("edm-heun", {"sigma_min": True}, r"has sigma_min = True"),
        ("edm-heun", {"sigma_min": 81}, r"sigma_min = 81.0 and sigma_max = 80.0"),
    ],
)
def test_options_are_checked(scheduler, options, message):
    with pytest.raises(SpecError, match=message):
        build(scheduler, options=options)


@pytest.mark.parametrize("name", TESTED)
def test_eta_is_for_ddim_alone(name):
    if name == "DDIMScheduler":
        assert build(name, eta=0.5).stochastic
    else:
        with pytest.raises(SpecError, match=r"eta = 0.5 with .*eta is the stochasticity of DDIM"):
            build(name, eta=0.5)


@pytest.mark.parametrize(
    ("scheduler", "steps", "options"),
    [
        ("ddim", 1001, {}),
        ("ddpm", 1001, {}),
        ("euler", 1001, {"timestep_spacing": "leading"}),
        ("dpmsolver", 1000, {"timestep_spacing": "leading"}),
        ("unipc", 1500, {"timestep_spacing": "linspace"}),
        ("ddim", 1000, {"steps_offset": 1}),
        ("heun", 1000, {"timestep_spacing": "leading", "steps_offset": 5}),
    ],
)
def test_more_steps_than_the_schedule_has_are_refused(scheduler, steps, options):
    with pytest.raises(SpecError, match=rf"cannot take {steps} steps: .*Take fewer steps"):
        build(scheduler, steps, options=options)


def test_a_scheduler_that_makes_fewer_steps_than_asked_for_is_refused():
    # Rounding: np.arange(1000, 0, -1000/n) has n + 1 entries for some n.
    scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing")
    odd = [n for n in range(1, 1000) if scheduler.set_timesteps(n) or len(scheduler.timesteps) != n]
    for steps in odd[:3]:
        with pytest.raises(SpecError, match=rf"cannot take {steps} steps"):
            build("ddim", steps, options={"timestep_spacing": "trailing"})
    cosine = denoiser(beta_schedule="squaredcos_cap_v2")
    clipped = {"timestep_spacing": "trailing", "lambda_min_clipped": -5.1}
    with pytest.raises(SpecError, match=r"cannot take 500 steps: it makes 4\d\d steps"):
        build("dpmsolver", 500, model=cosine, options=clipped)


@pytest.mark.parametrize("name", TESTED)
def test_the_identity_is_plain_json_with_every_resolved_value(name):
    identity = to_jsonable(build(name).identity)
    assert identity["class"] == name
    assert not any(key.startswith("_") for key in identity["config"])
    if name in DIFFUSERS:
        assert identity["config"]["beta_end"] == 0.02
        assert identity["config"]["prediction_type"] == "epsilon"
        other = build(name, model=denoiser(timestep_spacing="trailing")).identity
        assert to_jsonable(other) != identity


def test_clipping_stays_as_the_config_says():
    assert build("ddim", model=denoiser(clip_sample=True)).identity["config"]["clip_sample"]
    assert not build("ddim").identity["config"]["clip_sample"]
    bare = {key: value for key, value in DDPM_CONFIG.items() if key != "clip_sample"}
    by_default = gaussian_denoiser(MEAN, VARIANCE, bare)
    assert build("ddim", model=by_default).identity["config"]["clip_sample"]


@pytest.mark.parametrize("name", DIFFUSERS)
def test_noise_scale_is_the_schedulers_initial_sigma(name):
    with quiet_diffusers():
        scheduler = getattr(diffusers, name)(beta_start=1e-4, beta_end=0.02)
        scheduler.set_timesteps(10)
    assert build(name).noise_scale == float(scheduler.init_noise_sigma)


def test_noise_scale_of_euler_with_linear_betas():
    assert build("euler").noise_scale == pytest.approx(157.4, abs=0.05)
