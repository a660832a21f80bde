"""The commands of docs/encryption.md, run as they stand: making keys, decrypting, the stock tools."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from controller.repository import catalogue, layout
from controller.repository.encryption.codec import open_encryption
from controller.repository.manifest import StoredArtifact
from controller.repository.pipeline import Digest, run
from controller.repository.stores.directory import DirectoryStore
from hack import kubectl
from tests.property.retention import histories
from tests.support.control_plane import CHECKOUT

PAGE = (CHECKOUT / "docs" / "encryption.md").read_text(encoding="utf-8")
PLAIN = bytes(range(256)) * 9000
NAME = "neo4j-2026-03-01T02-00-05.backup"
# What age's own programs do, by the hands of pyrage, where Debian's package is not installed.
AGE_KEYGEN = """
import sys, pyrage
arguments = sys.argv[1:]
if arguments[0] == "-o":
    key = pyrage.x25519.Identity.generate()
    open(arguments[1], "w").write(f"# created: now\\n# public key: {key.to_public()}\\n{key}\\n")
else:
    text = [line for line in open(arguments[1]) if not line.startswith("#")][0].strip()
    print(pyrage.x25519.Identity.from_str(text).to_public())
"""
AGE = """
import sys, pyrage
_, d, i, identity, o, out, source = sys.argv
assert (d, i, o) == ("-d", "-i", "-o")
text = [line for line in open(identity) if not line.startswith("#")][0].strip()
key = pyrage.x25519.Identity.from_str(text)
open(out, "wb").write(pyrage.decrypt(open(source, "rb").read(), [key]))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Where a person sits: the programs that the page names, and no cluster (what is applied is kept)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    apply = (
        f'case " $* " in *" apply "*) cat >> {tmp_path}/applied.yaml; echo --- >> {tmp_path}/applied.yaml;;'
    )
    _program(programs / "kubectl", f'#!/bin/sh\n{apply}\n*) exec {kubectl.find()} "$@";;\nesac\n')
    _program(programs / "python", f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} "$@"\n')
    for name, code in (("age-keygen", AGE_KEYGEN), ("age", AGE)):
        if not shutil.which(name):
            _program(programs / name, f"#!{sys.executable}\n{code}")
    return tmp_path


def do(desk: Path, script: str) -> None:
    env = dict(os.environ) | {"PATH": f"{desk / 'bin'}:{os.environ['PATH']}", "KUBECONFIG": "/nowhere"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=desk, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def secrets_made(desk: Path) -> list[dict[str, bytes]]:
    """The Secrets that were applied, as the runner's pod would have them mounted."""
    documents = [one for one in yaml.safe_load_all((desk / "applied.yaml").read_text()) if one]
    assert {one["metadata"]["namespace"] for one in documents} == {"neo4j"}
    return [{name: base64.b64decode(data) for name, data in one["data"].items()} for one in documents]


def seal(algorithm: str, files: Mapping[str, bytes]) -> tuple[bytes, StoredArtifact]:
    encryption = open_encryption("AES256" if algorithm == "AES256" else "ChaCha20", files)
    stored, plain = Digest(), Digest()
    data = b"".join(run([PLAIN], [plain, encryption.encryptor(), stored]))
    artifact = StoredArtifact(
        database="neo4j",
        key=layout.artifact("neo4j", "chain", NAME + encryption.suffix),
        size=stored.size,
        sha256=stored.sha256,
        plain_size=plain.size,
        plain_sha256=plain.sha256,
        encryption=algorithm,
        key_ids=encryption.key_ids,
        chain="chain",
    )
    return data, artifact


def test_every_command_of_the_page_does_what_it_says(desk: Path) -> None:
    making, decrypting, with_age = blocks("sh")
    do(desk, making)
    for_aes, for_age = secrets_made(desk)
    assert (desk / "identity.txt").exists()
    assert "age-identity" not in for_age, "the identity stays with the user"

    aes, _ = seal("AES256", for_aes)
    age, artifact = seal("ChaCha20", for_age)
    (desk / f"{NAME}.aes256").write_bytes(aes)
    (desk / f"{NAME}.age").write_bytes(age)
    (desk / "repository").mkdir()
    store = DirectoryStore(desk / "repository")
    store.put(artifact.key, [age])
    manifest = catalogue.commit(store, histories.run(1, (artifact,)))
    (desk / "keys").mkdir()
    for name, data in for_aes.items():
        (desk / "keys" / name).write_bytes(data)
    shutil.copy(desk / "identity.txt", desk / "keys" / "age-identity")

    do(desk, decrypting.replace("<run-id>", manifest.run_id))
    assert (desk / "plain" / artifact.key.removesuffix(".age")).read_bytes() == PLAIN
    assert (desk / NAME).read_bytes() == PLAIN

    do(desk, with_age)
    assert (desk / "neo4j.backup").read_bytes() == PLAIN

    (snippet,) = blocks("python")
    (desk / "neo4j.backup").rename(desk / "by-age")
    (desk / "neo4j.backup.aes256").write_bytes(aes)
    (desk / "aes256-2026").write_bytes(for_aes["aes256-2026"])
    (desk / "snippet.py").write_text(snippet)
    do(desk, "python snippet.py")
    assert (desk / "neo4j.backup").read_bytes() == PLAIN


def test_the_page_names_every_key_that_is_read_and_no_other() -> None:
    (section,) = re.findall(r"^## What is read from.*?^A password", PAGE, re.MULTILINE | re.DOTALL)
    table = re.findall(r"^\| `([a-z0-9<>-]+)` \|", section, re.MULTILINE)
    assert set(table) == {"age-recipients", "age-identity", "aes256-<id>", "key", "active"}
