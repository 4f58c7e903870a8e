"""What the programs in swtpm's place say of themselves."""


def own_version() -> str:
    """The version of this program."""
    from importlib.metadata import version  # noqa: PLC0415 - a server binds its sockets before

    return version("vtpm")
