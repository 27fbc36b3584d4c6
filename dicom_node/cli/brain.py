"""`dicom-node brain`: the networks on a Ray cluster, for nodes whose engine is `ray`."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, configuration


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    group = typer.Typer(help="Networks on a Ray cluster: deploy.", no_args_is_help=True)
    group.callback()(brain)
    group.command("deploy")(deploy)
    app.add_typer(group, name="brain")


def brain() -> None:
    """Networks on a Ray cluster: deploy."""


def deploy(
    address: Annotated[
        str,
        typer.Option(
            "--address",
            help="The cluster: HOST:6379 from a machine of it, ray://HOST:10001 from others.",
        ),
    ],
    replicas: Annotated[int, typer.Option("--replicas", min=1, help="Processes that answer.")] = 1,
    cores: Annotated[int, typer.Option("--cores", min=1, help="Cores of each of them.")] = 1,
    host: Annotated[
        str,
        typer.Option("--host", help="Where Serve listens on the head, unless it runs already."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Its port, unless it runs already.")
    ] = 8000,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Deploy the configured networks to a Ray cluster, in the place of those before.

    Every machine of the cluster needs this version of dicom-node, with the extra `ray`. If
    analysis.brain_address is configured, what answers there is proved by the self-test film.
    """
    from dataclasses import replace

    from dicom_node.brains.choice import brain_for, functions_of
    from dicom_node.brains.deploying import Cluster
    from dicom_node.brains.deploying import deploy as deployed
    from dicom_node.line.networks import engine_of

    engine = engine_of(configuration(config, data_dir, thorough=True).settings)
    models, wanted = engine.models, replace(engine.wanted, engine="ray", device="cpu")
    with functions_of(models, wanted) as (folder, contents):
        functions = deployed(folder, contents, Cluster(address, replicas, cores, host, port))
    typer.echo(f"Deployed, {replicas} x {cores} cores: functions {functions[:12]}.")
    if wanted.elsewhere.address:
        proved = brain_for(models, wanted).brain.name
        typer.echo(f"Proved at {wanted.elsewhere.address}: {proved}.")
    else:
        typer.echo(f'In node.toml: analysis.brain_address = "http://HEAD:{port}".')
