"""The command `vtpm`; what a subcommand needs is loaded when it runs, so that help and servers start fast."""

import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from vtpm.cli.place import Place, default_run_dir, default_state_dir
from vtpm.daemon.secrecy import forbid_dumps

COMMANDS: Final = {
    "attach": ("vtpm.cli.libvirt", "attach"),
    "audit": ("vtpm.cli.audit", "audit"),
    "authority": ("vtpm.cli.authority", "authority"),
    "check": ("vtpm.cli.check", "check"),
    "compat-dir": ("vtpm.cli.compat", "compat_dir"),
    "create": ("vtpm.cli.vm", "create"),
    "delete": ("vtpm.cli.vm", "delete"),
    "detach": ("vtpm.cli.libvirt", "detach"),
    "doctor": ("vtpm.cli.doctor", "doctor"),
    "ek": ("vtpm.cli.ek", "ek"),
    "export-swtpm": ("vtpm.cli.swtpm_state", "export_swtpm"),
    "import-swtpm": ("vtpm.cli.swtpm_state", "import_swtpm"),
    "inspect": ("vtpm.cli.inspect", "inspect_tpm"),
    "libvirt": ("vtpm.cli.domains", "libvirt"),
    "list": ("vtpm.cli.vm", "list_vms"),
    "lockout-reset": ("vtpm.cli.lockout", "lockout_reset"),
    "platform": ("vtpm.cli.platform", "platform"),
    "profile": ("vtpm.cli.profile", "profile"),
    "provider": ("vtpm.cli.provider", "provider"),
    "rekey": ("vtpm.cli.rekey", "rekey"),
    "serve": ("vtpm.cli.serve", "serve"),
    "shred": ("vtpm.cli.rekey", "shred"),
    "show": ("vtpm.cli.vm", "show"),
    "simulator": ("vtpm.cli.simulator", "simulator"),
    "state": ("vtpm.cli.state", "state"),
    "status": ("vtpm.cli.libvirt", "status"),
    "stop": ("vtpm.cli.stop", "stop"),
    "trace": ("vtpm.cli.trace", "trace"),
}


class LazyGroup(click.Group):
    """A group whose commands are modules, imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """The command of a name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state-dir", envvar="VTPM_STATE_DIR", type=click.Path(file_okay=False), help="Where state is stored."
)
@click.option("--run-dir", envvar="VTPM_RUN_DIR", type=click.Path(file_okay=False), help="Where sockets are.")
@click.version_option(package_name="vtpm", prog_name="vtpm")
@click.pass_context
def cli(ctx: click.Context, state_dir: str | None, run_dir: str | None) -> None:
    """Virtual TPM 2.0 devices for virtual machines, and a key provider that encrypts their state."""
    ctx.obj = Place(state_dir or default_state_dir(), run_dir or default_run_dir())


def main() -> Any:
    """Run the command line; an error is one message with cause and remedy, and a status other than 0."""
    forbid_dumps()
    try:
        return cli(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"vtpm: {error.format_message()}", err=True)
        sys.exit(1)
    except click.Abort:
        click.echo("vtpm: interrupted", err=True)
        sys.exit(1)
    except BrokenPipeError:  # as with `| head`: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
