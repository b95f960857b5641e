"""The Docker Compose files: their validity, and the steps of the page without Docker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
import time
import tomllib
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from packaged_servers import valkey
from postgres_database import connected
from postgres_server import PostgresServer, ServerNotFoundError, postgres_server
from processes import ROOT, SECONDS, WNC_STORE, run, start
from redis_server import RedisServer, free_port, running

FOLDER = ROOT / "examples/docker"
PAGE = (ROOT / "docs/how-to/docker.md").read_text(encoding="utf-8")
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")

Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h)$")]


class Model(BaseModel):
    """A part of the Compose Specification: the keys that the files use, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Build(Model):
    """How an image is built."""

    context: str
    dockerfile: str


class Healthcheck(Model):
    """A command that shows whether a container works."""

    test: list[str] = Field(min_length=2)
    interval: Duration | None = None
    timeout: Duration | None = None
    retries: int | None = None


class Dependency(Model):
    """What a service waits for."""

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Service(Model):
    """A container."""

    image: str | None = Field(default=None, pattern=r"^[a-z0-9./-]+:[a-z0-9.-]+$")
    build: Build | None = None
    command: list[str] = []
    environment: dict[str, str] = {}
    ports: list[Annotated[str, Field(pattern=r"^(\d+(\.\d+){3}:)?\d+:\d+$")]] = []
    volumes: list[Annotated[str, Field(pattern=r"^[a-z]+:/\S+$")]] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "no"


class Project(Model):
    """A Compose file."""

    services: dict[str, Service]
    volumes: dict[str, None] = {}


def load(*names: str) -> Project:
    """Return the project of Compose files. Later ones override mappings key by key, and replace everything else."""
    merged: Any = {}
    for name in names:
        file = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
        Project.model_validate(file)
        merged = merge(merged, file)
    return Project.model_validate(merged)


def merge(base: Any, override: Any) -> Any:
    """Return a value of a Compose file with another one laid over it."""
    if not (isinstance(base, dict) and isinstance(override, dict)):
        return override
    merged = cast("dict[str, Any]", base).copy()
    for key, value in cast("dict[str, Any]", override).items():
        merged[key] = merge(merged.get(key), value)
    return merged


PROJECTS = {
    "redis": ("compose.yaml",),
    "valkey": ("compose.yaml", "compose.valkey.yaml"),
    "postgres": ("compose.postgres.yaml",),
}
URLS = {
    "redis": "redis://redis:6379/0",
    "valkey": "valkey://redis:6379/0",
    "postgres": "postgresql://postgres@postgres:5432/party",
}


@pytest.mark.parametrize("name", PROJECTS)
def test_the_files_are_valid(name: str) -> None:
    """The files have only keys and values of the Compose Specification, and name services and volumes that exist."""
    project = load(*PROJECTS[name])
    (server,) = project.services.keys() - {"app"}
    for service in project.services.values():
        assert (service.image is None) != (service.build is None)
        assert service.healthcheck is not None
        assert service.healthcheck.test[0] == "CMD"
        assert {volume.partition(":")[0] for volume in service.volumes} <= project.volumes.keys()
        for needed in service.depends_on:
            assert project.services[needed].healthcheck is not None
    assert not project.services[server].ports
    url = project.services["app"].environment["WNC_STORE_URL"]
    assert url == URLS[name]
    assert urlsplit(url).hostname == server


def test_the_image_is_built_from_files_that_exist() -> None:
    """The Dockerfile copies files of the repository, installs extras that exist, and has a supported Python."""
    build = load("compose.yaml").services["app"].build
    assert build is not None
    context = FOLDER / build.context
    assert (context / build.dockerfile).samefile(FOLDER / "Dockerfile")
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    assert [name for name in copied if not (context / name).exists()] == []
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {Path(path).parts[0] for path in metadata["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert {*packages, "pyproject.toml", "README.md", *metadata["project"]["license-files"]} <= set(copied)
    extras = re.findall(r"'\.\[([a-z,]+)\]'", DOCKERFILE)
    assert set(extras[0].split(",")) <= metadata["project"]["optional-dependencies"].keys()
    (python,) = re.findall(r"^FROM python:(3\.\d+)-slim$", DOCKERFILE, re.MULTILINE)
    assert f"Programming Language :: Python :: {python}" in metadata["project"]["classifiers"]


def test_the_page_shows_the_file() -> None:
    """The page contains the Compose file, and its commands name files and services that exist."""
    assert f"```yaml\n{(FOLDER / 'compose.yaml').read_text(encoding='utf-8')}```" in PAGE
    commands = [shlex.split(line) for line in re.findall(r"^    (docker compose .+)$", PAGE, re.MULTILINE)]
    files = {word for command in commands for word in command if word.endswith(".yaml")}
    assert files == {file for project in PROJECTS.values() for file in project}
    assert "docker compose exec app wnc-store doctor" in PAGE


@contextmanager
def serve(port: int, environment: dict[str, str]) -> Generator[str]:
    """Run the command of the image on another port, wait until it is healthy, and yield its address."""
    found = re.search(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1])
    for option, value in (("--host", "127.0.0.1"), ("--port", str(port))):
        arguments[arguments.index(option) + 1] = value
    healthcheck = load("compose.yaml").services["app"].healthcheck
    assert healthcheck is not None
    _, python, *check = healthcheck.test
    assert python == "python"
    # The output is inherited, because a full pipe would block the app.
    with start(
        *(sys.executable, "-m", program, *arguments),
        env={**os.environ, **environment},
        cwd=ROOT / "examples/fastapi_app",
        stdout=None,
        stderr=None,
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(AssertionError):
                    run(sys.executable, *(word.replace("8000", str(port)) for word in check))
                    break
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)


def request(address: str, data: str | None = None) -> Any:
    """Return the JSON of a response, as curl would get it from the page's commands."""
    body = None if data is None else data.encode()
    made = Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    with urlopen(made, timeout=SECONDS) as response:  # noqa: S310
        return json.load(response)


@pytest.fixture(params=PROJECTS, name="project")
def _project(request: pytest.FixtureRequest) -> Project:
    """The projects with Redis, with Valkey and with Postgres."""
    return load(*PROJECTS[request.param])


@pytest.fixture(name="server")
def _server(project: Project) -> Iterator[RedisServer | PostgresServer]:
    """The server of the project with its options and its database, and with a folder in place of the volume."""
    if "postgres" in project.services:
        try:
            with postgres_server() as started:
                asyncio.run(_create(started, project.services["postgres"].environment["POSTGRES_DB"]))
                yield started
        except ServerNotFoundError as error:
            pytest.skip(str(error))
        return
    program, *options = project.services["redis"].command
    programs = {"redis-server": None, "valkey-server": valkey}
    find = programs[program]
    with running(server := RedisServer(*options, program=find and find())):
        yield server


async def _create(server: PostgresServer, name: str) -> None:
    async with connected(server.url()) as connection:
        await connection.execute(f"CREATE DATABASE {name}")


def test_the_steps_of_the_page(project: Project, server: RedisServer | PostgresServer) -> None:
    """A room that is created in the app survives a restart of app and server, and doctor finds no problem."""
    url = project.services["app"].environment["WNC_STORE_URL"]
    environment = {"WNC_STORE_URL": re.sub(r"\w+:\d+/", f"127.0.0.1:{server.port}/", url)}
    (created,) = re.findall(r"^    curl -s localhost:8000(\S+) .* -d '(.+)'$", PAGE, re.MULTILINE)
    (read,) = re.findall(r"^    curl -s localhost:8000(\S+)$", PAGE, re.MULTILINE)
    with serve(free_port(), environment) as address:
        path, body = created
        assert request(f"{address}{path}", body)["roomId"] == "LOVELACE"
        run(*WNC_STORE, "doctor", env={**os.environ, **environment})
    server.kill()
    server.start()
    with serve(free_port(), environment) as address:
        assert request(f"{address}{read}")["hostName"] == "Ada"
