"""The configuration: every key exists, is read and is checked; a wrong one is named with the nearest that is right."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from gaitlib import InputError
from gaitlib.config import TERMS, Config, config_folder, load_config, resolve

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "configs" / "default.yaml"
OTHERS = sorted(p for p in DEFAULT.parent.glob("*.yaml") if p.name != "default.yaml")


def leaves(content, prefix=""):
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def fields(model, prefix=""):
    for key, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from fields(field.annotation, f"{prefix}{key}.")
        else:
            yield prefix + key


KEYS = list(leaves(yaml.safe_load(DEFAULT.read_text())))


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_default_yaml_and_the_model_have_the_same_keys():
    assert sorted(KEYS) == sorted(fields(Config))
    assert len(KEYS) == len(set(KEYS))


SOURCES = [p.read_text() for p in (ROOT / "gaitlib").rglob("*.py") if p.name != "config.py"]


@cache
def parameters(file, name):
    """The parameters of the constructor of a class, told without loading it."""
    [found] = [n for n in ast.parse((ROOT / "gaitlib" / file).read_text()).body if getattr(n, "name", "") == name]
    [made] = [n for n in found.body if getattr(n, "name", "") == "__init__"]
    return {argument.arg for argument in made.args.args + made.args.kwonlyargs}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_read(key):
    """`.name` stands in the sources, or the section is handed whole to something with a parameter of that name."""
    section, _, name = key.rpartition(".")
    read = any(re.search(rf"\.{name}\b", text) or f'settings["{name}"]' in text for text in SOURCES)
    if section == "model":
        read = name in parameters("model/recognizer.py", "GaitModel")  # **config.model.model_dump()
    if section == "losses" and name in TERMS:
        read = any(f'"{name}" in wanted' in text or f'asked["{name}"]' in text for text in SOURCES)
    assert read


@pytest.mark.parametrize("path", OTHERS, ids=lambda p: p.stem)
def test_other_files_change_only_keys_that_exist(path):
    changes = yaml.safe_load(path.read_text())
    found, plain = load_config(path), load_config(DEFAULT)
    assert set(leaves(changes)) <= set(KEYS)
    dumped, before = found.model_dump(mode="json"), plain.model_dump(mode="json")
    for key in KEYS:
        section, _, name = key.rpartition(".")
        pick = lambda content, s=section, n=name: (content.get(s) or {} if s else content).get(n)  # noqa: E731
        changed = pick(changes)
        assert pick(dumped) == (pick(before) if changed is None else changed), key


def test_the_protocols_of_all_files_exist():
    for path in (DEFAULT, *OTHERS):
        assert (DEFAULT.parent / "protocols" / f"{load_config(path).protocol}.yaml").is_file()


def test_file_over_default_and_set_over_both(file):
    path = file("training:\n  iterations: 7\n  people: 3\nseed: 5\n")
    config = load_config(path, ["training.people=9", " model.features = [pose, view]", "losses.temperature=1e-2"])
    assert (config.training.iterations, config.training.people, config.seed) == (7, 9, 5)
    assert config.model.features == ["pose", "view"]
    assert config.losses.temperature == 0.01
    assert config.training.walks_per_person == load_config(DEFAULT).training.walks_per_person


@pytest.mark.parametrize("text", ["", "# nothing\n", "model:\n", "model: {}\n"])
def test_an_empty_file_is_the_default_or_an_error(file, text):
    if text == "model:\n":
        with pytest.raises(InputError, match="no key 'model'"):
            load_config(file(text))
    else:
        assert load_config(file(text)) == load_config(DEFAULT)


def test_what_was_resolved_resolves_again(file):
    config = load_config(DEFAULT.with_name("as_published.yaml"), ["seed=3"])
    assert resolve(config.model_dump(mode="json"), "somewhere") == config
    assert load_config(file(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_a_configuration_with_changes():
    def changed(*overrides):
        return resolve(load_config(DEFAULT, ["seed=3"]).model_dump(mode="json"), "that of the run", overrides)

    expected = load_config(DEFAULT, ["seed=3", "training.people=9", "model.features=[pose]"])
    assert changed("training.people=9", "model.features=[pose]") == expected
    with pytest.raises(InputError, match=r"^--set sed=1: there is no key 'sed'"):
        changed("sed=1")
    with pytest.raises(InputError, match=r"^that of the run: model.window must be even"):
        changed("model.recognizer=paper", "model.window=65")


def test_a_configuration_cannot_be_changed():
    config = load_config(DEFAULT)
    with pytest.raises(ValueError, match="frozen"):
        config.training.iterations = 1


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("training.iteration", "training.iterations"),
        ("training.iterations.more", "training.iterations"),
        ("iterations", "training.iterations"),
        ("model.autoencodr", "model.autoencoder"),
        ("loses.triplet", "losses.triplet"),
        ("sed", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest(file, key, nearest):
    content: object = 1
    for part in reversed(key.split(".")):
        content = {part: content}
    path = file(yaml.safe_dump(content))
    with pytest.raises(InputError) as in_file:
        load_config(path)
    with pytest.raises(InputError) as in_set:
        load_config(DEFAULT, [f"{key}=1"])
    for error, where in ((in_file, str(path)), (in_set, f"--set {key}=1")):
        assert str(error.value) == f"{where}: there is no key '{key}' in the configuration; the nearest is '{nearest}'."


@pytest.mark.parametrize("text", ["1: 2\n", "true: 2\n", "training:\n  1.5: 2\n", "? [a, b]\n: 2\n"])
def test_keys_that_are_no_names_are_unknown_keys(file, text):
    with pytest.raises(InputError, match=r"no key|not valid YAML"):
        load_config(file(text))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("training.iterations=many", "training.iterations = 'many'"),
        ("training.iterations=1.5", "training.iterations = 1.5"),
        ("training.iterations=0", "training.iterations = 0"),
        ("training.iterations=", "training.iterations = None"),
        ("training.learning_rate=.nan", "training.learning_rate = nan"),
        ("training.betas=[0.9]", "training.betas"),
        ("training.betas=[0.9, 1.5]", "training.betas.1 = 1.5"),
        ("training.optimizer=sgd", "training.optimizer = 'sgd'"),
        ("model.features=[pose, color]", "--set model.features=[pose, color]: model.features.1 = 'color'"),
        ("model.features=[]", "model.features = []"),
        ("model.features=[motion, body, motion]", "model.features must name each feature once, not motion, body, motion"),
        ("losses.reconstruction=.inf", "losses.reconstruction = inf"),
        ("seed=9223372036854775808", "seed = 9223372036854775808"),
        ("walkers.seed=9223372036854775808", "walkers.seed = 9223372036854775808"),
        ("model.end_to_end=perhaps", "model.end_to_end = 'perhaps'"),
        ("model.window=15", "model.window = 15"),
        ("model.encoder_kernel=4", "model.encoder_kernel must be odd"),
        ("model.recognizer=paper", "model.recognizer must be lean"),
        ("losses.triplet=1", "losses.triplet belongs to the paper autoencoder"),
        ("losses.logged=[body_over_time]", "losses.body_over_time belongs to the paper autoencoder"),
        ("model.autoencoder=paper", "losses.camera needs the cameras of the geometric autoencoder"),
        ("evaluation.stride=0", "evaluation.stride = 0"),
        ("augmentation.mirror=1.1", "augmentation.mirror = 1.1"),
        ("losses.identity=-1", "losses.identity = -1"),
        ("losses.logged=[cycles]", "losses.logged.0 = 'cycles'"),
        ("losses.center=1", "losses.center needs the centers of the paper recognizer"),
        ("losses.logged=[center]", "losses.center needs the centers of the paper recognizer"),
        ("model.layout=scrambled", "model.layout and model.static_rows belong to the paper autoencoder"),
        ("model.static_rows=28", "model.layout and model.static_rows belong to the paper autoencoder"),
        ("seed=-1", "seed = -1"),
        ("protocol=[walkers]", "protocol = ['walkers']"),
        ("walkers.subjects=3", "walkers.subjects = 3"),
    ],
)
def test_a_value_that_does_not_fit_is_named(change, key):
    with pytest.raises(InputError) as error:
        load_config(DEFAULT, [change])
    assert key in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400  # the longest names all twelve losses


def test_what_is_of_the_other_autoencoder_is_refused():
    with pytest.raises(InputError, match="body_discriminants belongs to the geometric autoencoder"):
        load_config(DEFAULT.with_name("as_published.yaml"), ["model.body_discriminants=4"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {iterations: 7}\ntraining: {people: 3}\n", "'training' is given twice"),
        ("training: {people: 3, iterations: 7, people: 4}", "'people' is given twice"),
        ("training: &a {iterations: *a}", "anchors contain themselves"),
        ("training: {iterations: !!int many}", "invalid literal"),
    ],
)
def test_yaml_that_would_lose_something_is_refused(file, text, words):
    with pytest.raises(InputError, match=words) as error:
        load_config(file(text))
    assert str(error.value).startswith(f"{file(text)} is not valid YAML: ")


LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "more than 100,000 values"),
        (MERGED, "more than 100,000 values"),
        ("seed: " + "[" * 500, "recursion"),
        ("seed: " + "9" * 5000, "a number has 5,000 digits"),
        ("seed: 0x" + "f" * 5000, "a number has 5,002 digits"),
        ("seed: 1" + ":10" * 2000, "a number has 6,001 digits"),
        ("seed: !!bool perhaps", "perhaps"),
        ("seed: !!timestamp soon", "not valid YAML"),
        ("seed: !!int ''", "not valid YAML"),
        ("seed: a\0b", "special characters"),
        ("seed: 1" + " " * 2**20, "has 1 MB"),
    ],
    ids=["laughs", "merged", "deep", "decimal", "hexadecimal", "sexagesimal", "bool", "timestamp", "int", "NUL", "long"],
)
def test_yaml_of_strangers_is_refused_quickly(file, text, words):
    """Anchors within each other for 31,000,000,000 values took all memory; numbers of many digits raised Python's own error."""
    with pytest.raises(InputError, match=words) as error:
        load_config(file(text))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    if "&" not in text and len(text) < 10_000:
        key, value = text.split(": ", 1)
        with pytest.raises(InputError, match=r"^--set seed=.*: the value is not valid YAML") as error:
            load_config(DEFAULT, [f"{key}={value}"])
        assert len(str(error.value)) < 250


def test_long_names_and_values_are_shortened(file):
    for text in (f"{'x' * 5000}: 1", f"seed: {'x' * 5000}", f"training: {{iterations: [{'1,' * 5000}]}}"):
        with pytest.raises(InputError) as error:
            load_config(file(text))
        assert len(str(error.value)) < 500
    for path in ("x" * 300, "a\0b"):
        with pytest.raises(InputError, match="cannot be read"):
            load_config(path)


def test_dates_in_yaml_are_text_and_anchors_work(file):
    config = load_config(file("protocol: 2024-13-45\nlosses: {identity: &one 1.5, contrastive: *one}"), ["protocol=2024-10-11"])
    assert (config.protocol, config.losses.identity, config.losses.contrastive) == ("2024-10-11", 1.5, 1.5)


def test_a_configuration_of_before_a_key_says_what_it_lacks():
    of_before = load_config("configs/as_published.yaml").model_dump(mode="json")
    del of_before["losses"]["temperature"]
    with pytest.raises(InputError) as error:
        resolve(of_before, "reports/before")
    assert str(error.value).startswith("reports/before: losses.temperature is missing; ")
    assert len(str(error.value)) < 200


def test_a_training_needs_a_loss():
    changes = [f"losses.{name}=0" for name in TERMS]
    with pytest.raises(InputError) as error:
        load_config(DEFAULT, [*changes, "losses.logged=[cycle]"])
    assert str(error.value) == f"{DEFAULT}: all weights in losses are 0, so there is nothing to train."
    assert load_config(DEFAULT, changes[1:]).losses.reconstruction == 1


def test_the_paper_recognizer_needs_even_windows():
    changes = ["model.recognizer=paper", "model.window=65"]
    with pytest.raises(InputError) as error:
        load_config(DEFAULT, changes)
    assert str(error.value) == f"{DEFAULT}: model.window must be even for the paper recognizer."
    assert load_config(DEFAULT, changes[1:]).model.window == 65


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("- model", "must hold keys and values"),
        ("seed", "must hold keys and values"),
        (b"seed: \xff\xfe", "cannot be read"),
        (b"\x00\x01\x02", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_yaml_of_keys(file, text, words):
    path = file(text)
    with pytest.raises(InputError, match=words) as error:
        load_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_names_those_there_are(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match=r"cannot be read .*as_published.yaml, .*default.yaml.*quick.yaml"):
            load_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [("seed", "write it as key=value"), ("=3", "no key ''"), ("seed=[", "the value is not valid YAML"), ("", "key=value")],
)
def test_a_set_of_the_wrong_form(text, words):
    with pytest.raises(InputError, match=words) as error:
        load_config(DEFAULT, [text])
    assert f"--set {text}" in str(error.value)


def test_configurations_are_found_from_the_working_folder_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_folder() == DEFAULT.parent
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "default.yaml").write_text(DEFAULT.read_text().replace("seed: 0 ", "seed: 11 "))
    assert load_config(OTHERS[0]).seed == 11
