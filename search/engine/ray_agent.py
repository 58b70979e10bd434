"""Stands in for an agent of Ray's on a node that has no use for one.

Ray's raylet starts it as a process of its own, and waits for the files in which an agent says at
which ports it listens. Ray's own agents write -1 there where they do not serve. Then it does
nothing until the raylet ends, which would end with it.

It imports nothing but what starts in a few milliseconds.
"""

import os
import sys
import time

_PORTS = {
    "agent.py": ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "main.py": ("runtime_env_agent_port",),
}
"""The ports of the agent whose file is so called, by the names that Ray gives them."""


def main(file: str, options: list[str]) -> None:
    """Write the ports of an agent, and wait for the end of the process that started this one.

    Args:
        file: of Ray's, which would be the agent.
        options: ``--name=value``, those of the agent.
    """
    raylet = os.getppid()
    given = dict(option[2:].split("=", 1) for option in options if "=" in option)
    for name in _PORTS[os.path.basename(file)]:
        path = os.path.join(given["session-dir"], f"{name}_{given['node-id']}")
        with open(f"{path}.part", "w") as part:
            part.write("-1")
        os.replace(f"{path}.part", path)
    while os.getppid() == raylet:
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
