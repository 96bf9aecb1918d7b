"""A real Kafka as its container image starts one: the image's own program makes properties of the container's environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.server_process import absent, dies_with_its_parent, find_program
from tests.support.servers import VERSIONS, servers_folder


@contextmanager
def started(environment: Mapping[str, str], folder: Path, port: int, controller: int) -> Iterator[Callable[[], str]]:
    """A Kafka with this environment while the block runs, at other ports and in a folder; gives what it says.

    Changed are what a container has to itself: the ports, the host's name and the folder of the data.
    """
    jars = servers_folder() / f"kafka-{VERSIONS['KAFKA_VERSION']}"
    if not jars.is_dir():
        absent(f"Apache Kafka {VERSIONS['KAFKA_VERSION']} is not in {jars}: make servers")
    java = [find_program("java", "default-jre-headless"), "-cp", f"{jars}/*", "-Xmx384m", "-XX:+UseSerialGC"]
    given = {
        name: value.replace(":9092", f":{port}").replace("localhost:9093", f"127.0.0.1:{controller}")
        .replace("//kafka", "//127.0.0.1").replace("/var/lib/kafka/data", str(folder / "data"))
        for name, value in environment.items()
    }  # fmt: skip
    for name in ("defaults", "mounted", "final"):
        (folder / name).mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folder / "defaults" / name).write_text("")
    known = {**os.environ, **given}
    places = ["--default-configs-dir", "defaults", "--mounted-configs-dir", "mounted", "--final-configs-dir", "final"]
    wrapper = subprocess.run(
        [*java, "kafka.docker.KafkaDockerWrapper", "setup", *places],
        cwd=folder, env=known, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wrapper.returncode == 0, wrapper.stdout + wrapper.stderr
    log4j = folder / "log4j2.properties"
    log4j.write_text(
        "appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\n"
        "appender.out.layout.pattern=%p %m%n\nrootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\n"
    )
    output = folder / "said.log"
    with output.open("wb") as log:
        server = subprocess.Popen(
            [
                *dies_with_its_parent(),
                *java,
                f"-Dlog4j2.configurationFile={log4j}",
                "kafka.Kafka",
                str(folder / "final" / "server.properties"),
            ],
            env=known,
            stdout=log,
            stderr=log,
        )
        try:
            yield lambda: output.read_text(errors="replace")
        finally:
            server.kill()
            server.wait()
