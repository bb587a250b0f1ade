"""``python -m sandbox``: the sandbox in the foreground, until it is interrupted."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys

from sandbox import ArunaSwitches, Ports, Sandbox


def main() -> int:
    """Start, say where everything is, wait for SIGINT or SIGTERM."""
    arguments = _arguments()
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    every = arguments.lose_every
    aruna = ArunaSwitches(loses=lambda number, _: bool(every) and number % every == 0)
    ports = Ports(
        arguments.grpc_port, arguments.gateway_port, arguments.s3_port, arguments.gfbio_port
    )
    with Sandbox(aruna=aruna, ports=ports, host=arguments.host) as sandbox:
        _introduce(sandbox, arguments)
        signal.sigwait(signals)
    return 0


def _introduce(sandbox: Sandbox, arguments: argparse.Namespace) -> None:
    lines = [
        f"Aruna, gRPC:    {sandbox.grpc_url}",
        f"Aruna, REST:    {sandbox.gateway_url}",
        f"Aruna, S3:      {sandbox.s3_url}",
        f"GFBio:          {sandbox.gfbio_url}",
        f"owner:          {sandbox.owner.id}",
        f"S3 access key:  {sandbox.owner.credentials.access_key}",
        f"S3 secret key:  {sandbox.owner.credentials.secret_key}",
    ]
    lines += [f"project:        {n} = {sandbox.create_project(n)}" for n in arguments.project]
    exports = {**sandbox.environment(arguments.service_url), "ARUNA_API_URL": sandbox.gateway_url}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Aruna, its S3 storage and GFBio on loopback ports."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    for name in ("grpc", "gateway", "s3", "gfbio"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument(
        "--project", action="append", default=[], help="make a project of that name"
    )
    parser.add_argument("--service-url", help="where the webhook service will be (PUBLIC_URL)")
    parser.add_argument(
        "--lose-every", type=int, default=0, metavar="N", help="never send each N-th hook"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
