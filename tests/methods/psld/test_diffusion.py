"""Models of diffusers: what they predict, how they are read and written."""

import importlib.util
import json
import shutil
import sys

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects

import albu_learned as al
from albu_learned.methods.psld import folder
from tests.methods.psld import tiny

diffusers = tiny.diffusers
KINDS = {
    "unconditional": tiny.model,
    "tiny autoencoder": lambda: tiny.model("tiny"),
    "told a text": tiny.told,
    "grey": lambda: tiny.model(channels=1),
}
every = pytest.mark.parametrize("name", KINDS)


def images(model, rows=2, side=16):
    return torch.rand(rows, model.channels, side, side, generator=torch.Generator().manual_seed(0))


@every
def test_shapes_and_scales(name):
    model = KINDS[name]()
    given = images(model)
    latents = model.encode(given)
    assert latents.shape == (2, 4, 8, 8)
    assert model.decode(latents).shape == given.shape
    assert model.noise(latents, 500).shape == latents.shape
    assert (model.cell, model.multiple, model.side) == (2, 4, 16)
    assert not any(p.requires_grad for p in model.unet.parameters())
    assert latents.dtype == torch.float32


def test_latents_are_those_of_the_pipelines_of_diffusers():
    model = tiny.model()
    given = images(model)
    kl = model.autoencoder
    expected = kl.encode(given * 2 - 1).latent_dist
    torch.testing.assert_close(model.encode(given), expected.mode() * kl.config.scaling_factor)
    noise = torch.randn(2, 4, 8, 8)
    drawn = (expected.mean + expected.std * noise) * kl.config.scaling_factor
    torch.testing.assert_close(model.encode(given, lambda like: noise), drawn)
    latents = model.encode(given)
    pixels = kl.decode(latents / kl.config.scaling_factor).sample / 2 + 0.5
    torch.testing.assert_close(model.decode(latents), pixels)


def test_means_and_deviations_of_latents():
    model = tiny.model()
    plain = model.encode(images(model))
    pixels = model.decode(plain)
    own = {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 0.5, 1.0]}
    model.autoencoder.register_to_config(**own)
    mean, std = (torch.tensor(own[key]).view(1, 4, 1, 1) for key in own)
    factor = model.autoencoder.config.scaling_factor
    expected = (plain / factor - mean) * factor / std
    torch.testing.assert_close(model.encode(images(model)), expected)
    torch.testing.assert_close(model.decode(expected), pixels)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_whatever_is_predicted_the_clean_latents_are_those_of_diffusers(prediction):
    model = tiny.model(prediction=prediction)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    scheduler = diffusers.DDIMScheduler.from_config(model.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(1000)
    time = 437
    said = model.unet(latents, time).sample
    expected = scheduler.step(said, time, latents).pred_original_sample
    share = model.alphas[time].float()
    noise = model.noise(latents, time)
    found = (latents - (1 - share).sqrt() * noise) / share.sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_all_of_the_noise_at_the_last_level_is_no_trouble():
    scheduler = diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=False
    )
    model = al.LatentDiffusion(tiny.unet(), tiny.autoencoder(), scheduler)
    assert model.alphas.min() > 0
    assert model.noise(torch.randn(1, 4, 8, 8), 999).isfinite().all()


@every
def test_saved_and_read_it_is_the_same(name, tmp_path):
    model = KINDS[name]()
    model.save_pretrained(tmp_path / "saved")
    again = al.LatentDiffusion.from_pretrained(tmp_path / "saved")
    latents = model.encode(images(model))
    assert torch.equal(again.encode(images(model)), latents)
    assert torch.equal(again.noise(latents, 300), model.noise(latents, 300))
    assert torch.equal(again.decode(latents), model.decode(latents))
    assert not list(tmp_path.rglob("*.bin"))
    again.save_pretrained(tmp_path / "saved")  # over itself


def test_diffusers_reads_what_is_written(tmp_path):
    tiny.model().save_pretrained(tmp_path / "plain")
    pipeline = diffusers.LDMPipeline.from_pretrained(tmp_path / "plain")
    assert type(pipeline.vqvae).__name__ == "AutoencoderKL"
    index = json.loads((tmp_path / "plain/model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DModel"]


def test_a_pipeline_of_diffusers_is_read(tmp_path):
    diffusers.LDMPipeline(tiny.autoencoder("vq"), tiny.unet(), tiny.scheduler()).save_pretrained(
        tmp_path
    )
    model = al.LatentDiffusion.from_pretrained(tmp_path)
    assert model.decode(model.encode(images(model))).shape == (2, 3, 16, 16)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository, of which only what is asked for is downloaded; and the calls."""
    calls = []

    def download(name, *, allow_patterns, **options):
        calls.append({"name": name, **options})
        every = [file.relative_to(tmp_path / "hub") for file in (tmp_path / "hub").rglob("*.*")]
        for file in filter_repo_objects(map(str, every), allow_patterns=allow_patterns):
            (tmp_path / "here" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "hub" / file, tmp_path / "here" / file)
        return str(tmp_path / "here")

    monkeypatch.setattr(folder, "snapshot_download", download)
    return tmp_path / "hub", tmp_path / "here", calls


def test_a_repository_is_downloaded_and_remembered(hub, monkeypatch):
    there, here, calls = hub
    tiny.told().save_pretrained(there)
    for end in ("bin", "fp16.safetensors", "non_ema.safetensors"):
        (there / f"unet/diffusion_pytorch_model.{end}").touch()
    model = al.LatentDiffusion.from_pretrained("somebody/model", local_files_only=True)
    assert {(call["name"], call["local_files_only"]) for call in calls} == {
        ("somebody/model", True)
    }
    found = {str(file.relative_to(here)) for file in here.rglob("diffusion_*")}
    assert found == {f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")}
    assert model.source == "somebody/model"
    assert al.PSLDInpaint(model).ldm == "somebody/model"
    monkeypatch.setattr(folder, "snapshot_download", None)
    again = al.LatentDiffusion.from_pretrained(there)  # a folder asks nobody
    assert again.source == str(there)


@pytest.mark.parametrize("form", ["{}.fp16", "{}.fp16-00001-of-00002", "{}-00001-of-00002.fp16"])
def test_files_of_one_variant_are_downloaded(hub, form):
    there, here, calls = hub
    tiny.model().save_pretrained(there)
    for part in ("unet", "vqvae"):
        file = there / part / "diffusion_pytorch_model.safetensors"
        shutil.copy(file, file.with_name(f"{form.format(file.stem)}.safetensors"))
    if "-of-" in form:
        with pytest.raises(OSError):  # whose other half is missing
            al.LatentDiffusion.from_pretrained("somebody/model", variant="fp16", revision="v1")
    else:
        model = al.LatentDiffusion.from_pretrained("somebody/model", variant="fp16", revision="v1")
        assert model.source is None  # the name alone would be another's
        assert al.PSLDInpaint(model).ldm != "somebody/model"
    assert {call["revision"] for call in calls} == {"v1"}
    found = {file.name for file in here.rglob("*.safetensors")}
    assert found == {form.format("diffusion_pytorch_model") + ".safetensors"}


def test_what_cannot_be_read_is_not_downloaded(hub):
    there, here, _ = hub
    tiny.told().save_pretrained(there)
    file = there / "unet/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "addition_embed_type": "text"}))
    with pytest.raises(ValueError, match="got one with addition_embed_type='text'"):
        al.LatentDiffusion.from_pretrained("somebody/model")
    assert not [*here.rglob("*diffusion_pytorch_model*")]


def test_half_precision_is_of_the_network_alone():
    model = tiny.told().to(dtype=torch.bfloat16)
    given = images(model)
    latents = model.encode(given)
    assert latents.dtype == given.dtype
    assert model.noise(latents, 10).dtype == given.dtype
    exact = tiny.told()
    torch.testing.assert_close(model.encode(given), exact.encode(given), rtol=0.1, atol=0.05)


def test_checkpointing_gives_the_same_gradients():
    model = tiny.model()
    latents = model.encode(images(model))

    def gradient():
        given = latents.clone().requires_grad_()
        (model.decode(given).sum() + model.noise(given, 10).sum()).backward()
        return given.grad

    plain = gradient()
    assert torch.equal(model.checkpointing().unet.is_gradient_checkpointing * plain, plain)
    torch.testing.assert_close(gradient(), plain)
    assert not model.checkpointing(False).unet.is_gradient_checkpointing


def test_checkpointing_leaves_out_what_has_none():
    model = al.LatentDiffusion(tiny.unet(), tiny.autoencoder("vq"), tiny.scheduler())
    assert model.checkpointing().unet.is_gradient_checkpointing
    assert not model.checkpointing(False).unet.is_gradient_checkpointing


# What is wrong is said


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: al.LatentDiffusion.from_pretrained("no/such/folder"), FileNotFoundError, "folder"),
        (lambda: al.LatentDiffusion(torch.nn.Linear(1, 1), None, None), TypeError, "unet"),
        (
            lambda: al.LatentDiffusion(tiny.unet(), torch.nn.Linear(1, 1), None),
            TypeError,
            "autoencoder",
        ),
        (
            lambda: al.LatentDiffusion(tiny.unet(True), tiny.autoencoder(), tiny.scheduler()),
            ValueError,
            "embedding",
        ),
    ],
)
def test_says_what_is_wrong(make, error, says):
    with pytest.raises(error, match=f"`?{says}`?"):
        make()


def test_a_repository_that_cannot_be_had(monkeypatch):
    def fail(*_, **__):
        raise LocalEntryNotFoundError("Got: no route to host\nand much more")

    monkeypatch.setattr(folder, "snapshot_download", fail)
    says = r"got 'runs/typo': there is no such folder, and .* \(Got: no route to host\). Correct"
    with pytest.raises(FileNotFoundError, match=says):
        al.LatentDiffusion.from_pretrained("runs/typo")


def test_a_network_for_inpainting_is_refused():
    with pytest.raises(ValueError, match="made for inpainting"):
        al.LatentDiffusion(tiny.unet(channels=9), tiny.autoencoder(), tiny.scheduler())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"out_channels": 8}, "make latents of 4 channels, .* got one that makes 8"),
        ({"class_embed_type": "timestep"}, "got one with class_embed_type='timestep'"),
        ({"num_class_embeds": 3}, "got one with num_class_embeds=3"),
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 56,
            },
            "got one with addition_embed_type='text_time'",
        ),
        ({"cross_attention_dim": 24}, "a text of 8 numbers a word, .* got one that is told 24"),
    ],
)
def test_networks_that_cannot_work_are_refused(changed, says, tmp_path):
    """Before they fail in the midst of a sampling."""
    model = tiny.told()
    model.save_pretrained(tmp_path)
    given = {name: value for name, value in model.unet.config.items() if name[0] != "_"}
    type(model.unet)(**{**given, **changed}).save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError, match=f"`unet` must .*{says}"):
        al.LatentDiffusion.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "kind", ["FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler", "ScoreSdeVeScheduler"]
)
def test_schedules_of_other_kinds_of_models_are_refused(kind, tmp_path):
    """Diffusers would read its default noise levels in their place."""
    tiny.model().save_pretrained(tmp_path)
    other = getattr(diffusers, kind)()
    other.save_pretrained(tmp_path / "scheduler")
    with pytest.raises(ValueError, match=f"`scheduler` must be of noise levels .* got {kind}"):
        al.LatentDiffusion.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"got {kind}"):
        al.LatentDiffusion(tiny.unet(), tiny.autoencoder(), other)


def test_schedules_of_any_sampler_are_read(tmp_path):
    tiny.model().save_pretrained(tmp_path)
    how = {"beta_start": 0.001, "beta_end": 0.02, "prediction_type": "v_prediction"}
    for kind in ("DDIM", "PNDM", "EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep"):
        other = getattr(diffusers, f"{kind}Scheduler")(**how)
        other.save_pretrained(tmp_path / "scheduler")
        found = al.LatentDiffusion.from_pretrained(tmp_path)
        torch.testing.assert_close(found.alphas, other.alphas_cumprod.double())
        assert found.prediction == "v_prediction"


@pytest.mark.parametrize(
    ("index", "error", "says"),
    [
        (None, FileNotFoundError, "model_index.json"),
        ("{", ValueError, "JSON"),
        ("[]", ValueError, "an object"),
        ('{"unet": ["os", "system"]}', ValueError, "UNet2DModel"),
        ('{"unet": ["diffusers", "FluxTransformer2DModel"]}', ValueError, "UNet2DModel"),
        ("{}", ValueError, "unet"),
    ],
)
def test_folders_of_something_else(tmp_path, index, error, says):
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(error, match=says):
        al.LatentDiffusion.from_pretrained(tmp_path)


def test_pickled_weights_are_not_read(tmp_path):
    tiny.model().save_pretrained(tmp_path)
    weights = tmp_path / "unet/diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(OSError, match="safetensors"):
        al.LatentDiffusion.from_pretrained(tmp_path)


def test_a_text_for_a_model_that_is_told_none(tmp_path):
    tiny.model().save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="`text`"):
        al.LatentDiffusion.from_pretrained(tmp_path / "plain", text="a bone")
    tiny.told().save_pretrained(tmp_path / "told")
    with pytest.raises(ValueError, match="Leave `text` out"):
        al.LatentDiffusion.from_pretrained(tmp_path / "told", text="a bone")


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(FileExistsError, match="save_directory"):
        tiny.model().save_pretrained(tmp_path)
    with pytest.raises(NotADirectoryError, match="save_directory"):
        tiny.model().save_pretrained(tmp_path / "thesis.tex")


def test_without_diffusers_the_extra_is_named(tmp_path, monkeypatch):
    tiny.model().save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "albu_learned\[psld\]"'):
        al.LatentDiffusion.from_pretrained(tmp_path)


# Stable Diffusion: the text is encoded once


def stable_diffusion(root):
    """A folder in the layout of Stable Diffusion, with a text encoder of a few hundred numbers."""
    transformers = pytest.importorskip("transformers")
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        "a</w>",
        "bo",
        "bon",
        "bone</w>",
        *"abcdefghijklmnopqrstuvwxyz",
    ]
    words += [f"{letter}</w>" for letter in "bcdefghijklmnopqrstuvwxyz"]
    place = root / "tokenizer"
    place.mkdir(parents=True)
    (place / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (place / "merges.txt").write_text("#version: 0.2\nb o\nbo n\nbon e</w>\n")
    settings = {"model_max_length": 6, "tokenizer_class": "CLIPTokenizer"}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(3)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=6, bos_token_id=0, eos_token_id=1,
        pad_token_id=1,
    )  # fmt: skip
    encoder = transformers.CLIPTextModel(config).eval()
    encoder.save_pretrained(root / "text_encoder")
    tiny.unet(True).save_pretrained(root / "unet")
    tiny.autoencoder().save_pretrained(root / "vae")
    tiny.scheduler().save_pretrained(root / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    (root / "model_index.json").write_text(json.dumps(index))
    return encoder


def test_the_text_is_encoded_once(tmp_path):
    encoder = stable_diffusion(tmp_path / "sd")
    empty = al.LatentDiffusion.from_pretrained(tmp_path / "sd")
    with torch.no_grad():
        expected = encoder(torch.tensor([[0, 1, 1, 1, 1, 1]]))[0]
    torch.testing.assert_close(empty.embedding, expected)
    told = al.LatentDiffusion.from_pretrained(tmp_path / "sd", text="a bone")
    assert not torch.equal(told.embedding, empty.embedding)
    told.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved/text_encoder").exists()
    again = al.LatentDiffusion.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.embedding, told.embedding)


def test_a_variant_is_that_of_the_text_encoder_too(hub):
    there, here, _ = hub
    encoder = stable_diffusion(there)
    for network, part in ((encoder, "text_encoder"), (tiny.unet(True), "unet")):
        network.half().save_pretrained(there / part, variant="fp16")
    tiny.autoencoder().half().save_pretrained(there / "vae", variant="fp16")
    model = al.LatentDiffusion.from_pretrained("somebody/model", variant="fp16")
    with torch.no_grad():
        expected = encoder.float()(torch.tensor([[0, 1, 1, 1, 1, 1]]))[0]
    torch.testing.assert_close(model.embedding, expected)
    names = [file.name for file in here.rglob("*.safetensors")]
    assert len(names) == 3
    assert all("fp16" in name for name in names)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="it is there")
def test_without_transformers_it_is_named(tmp_path):
    tiny.told().save_pretrained(tmp_path)
    (tmp_path / "embedding.safetensors").unlink()
    (tmp_path / "text_encoder").mkdir()
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["text_encoder"] = ["transformers", "CLIPTextModel"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        al.LatentDiffusion.from_pretrained(tmp_path)
