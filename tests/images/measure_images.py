"""How large the example pipelines' images are, and how long they take to build.

    python tests/images/measure_images.py

Needs what the tests of images need (scripts/test_packages.sh). Everything is built in a store that
is new and with caches that are empty, on a base image that the tests make; docs/images.md has the
figures.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "aws"))

from image_kit import (
    Served,
    base_archive,
    buildah_store,
    command,
    container,
    docker_registry,
    inside,
    push_base,
)

from tidegate.deploy.images.base_image import read_image_recipe
from tidegate.deploy.images.builders import Buildah
from tidegate.deploy.images.building import build_images, plan_images
from tidegate.runtime.manifest import Config, Manifest

EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
MANIFEST = Manifest(
    tuple(
        Config(name, "humboldt", "Ingest", "S3", f"pipelines/{name}/config/{file}.yaml", "raw/")
        for name, file in (("lidar", "pipeline_humboldt"), ("lidar_vap", "pipeline"))
    )
)
NOBODY = "993:990"


def build(repository: Path, served: Served, base: str, what: str) -> dict[str, str]:
    """Release, and say how long each part of it took."""
    recipe = read_image_recipe(repository, python="3.11", base=base)
    began = last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        now = time.monotonic()
        if line.startswith(("building ", "pushing ")) or "prepare.py" in line:
            print(f"  {now - began:6.1f} s  {line.split('RUN')[-1].strip()[:90]}")
        last = now

    plan = plan_images(repository, MANIFEST, recipe, served)
    images = build_images(plan, repository, Buildah(), served, say=say)
    print(f"{what}: {time.monotonic() - began:.1f} s\n", flush=True)
    return {name: image.digest for name, image in images.items()}


def sizes(image: str) -> None:
    """The size of each layer, as it is pulled and as it lies on disk."""
    raw = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{image}"]
    layers = [layer["size"] for layer in json.loads(command(*raw))["layers"]]
    for size in layers:
        print(f"  {size / 1e6:8.2f} MB compressed")
    print(f"  {sum(layers) / 1e6:8.2f} MB in all")
    with container(image) as box:
        print(command(*inside(box, "du", "-sm", "/opt/python", "/opt/pipelines", "/usr")))
        site = "/opt/pipelines/lib/python3.11/site-packages"
        print(command(*inside(box, "sh", "-c", f"du -sm {site}/* | sort -rn | head -12")))
        bytecode = f"find {site} -name '*.pyc' -printf '%s\\n' | awk '{{s+=$1}} END {{print s}}'"
        print("byte code:", command(*inside(box, "sh", "-c", bytecode)))


def starts(image: str) -> None:
    """What a start costs, with what the image has and without it."""
    timed = "import time; t = time.time(); import {}; print(round(time.time() - t, 2))"
    cases = {
        "import tsdat": ({}, "tsdat"),
        "import tsdat, no byte code": (
            {"PYTHONPYCACHEPREFIX": "/tmp/none", "PYTHONDONTWRITEBYTECODE": "1"}, "tsdat",
        ),
        "matplotlib's fonts": ({}, "matplotlib.font_manager"),
        "matplotlib's fonts, not baked": ({"MPLCONFIGDIR": "/nowhere"}, "matplotlib.font_manager"),
    }  # fmt: skip
    with container(image) as box:
        for name, (environment, module) in cases.items():
            run = inside(
                box, "python", "-c", timed.format(module), user="0", environment=environment
            )
            times = [float(command(*run).splitlines()[-1]) for _ in range(4)]
            print(f"  {name}: first {times[0]} s, then {sorted(times[1:])[1]} s")


def main() -> None:
    """Measure it all."""
    with tempfile.TemporaryDirectory(prefix="measure-") as place:
        folder = Path(place)
        os.environ["TMPDIR"] = place  # buildah keeps the caches of RUN steps there
        repository = folder / "repository"
        ignore = shutil.ignore_patterns(".venv", "__pycache__")
        shutil.copytree(EXAMPLES, repository, ignore=ignore)
        with docker_registry(folder / "registry") as registry, buildah_store(folder / "store"):
            base = f"{registry.host}/lambda/python:3.11"
            push_base(base_archive(), base)
            served = Served(registry.host)
            images = build(repository, served, base, "all, cold")
            sizes(f"{served.address}@{images['lidar']}")
            with (repository / "pipelines/lidar/pipeline.py").open("a") as file:
                file.write("# changed\n")
            build(repository, served, base, "one pipeline's code changed")
            (repository / "shared/more.yaml").write_text("a: b\n")
            build(repository, served, base, "shared/ changed, two pipelines")
            build(repository, served, base, "nothing changed")
            starts(f"{served.address}@{images['lidar']}")
    print(f"on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
