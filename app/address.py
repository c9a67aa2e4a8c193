"""By which names and addresses a machine calls itself."""

import ipaddress


def is_this_machine(host: str) -> bool:
    """Whether what listens on `host`, or is asked for under this name, is only reached from the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
