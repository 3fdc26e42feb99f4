"""Stand-in Pulumi plugins: a Python language host, a `kubernetes` and a `random` provider.

They serve the protocols of the official plugins, with the official type tokens, property
shapes and state, for machines that reach package registries but not Pulumi's downloads.
Nothing outside this package knows which of the two is in use. See docs/stand-in-plugins.md.
"""

KUBERNETES_VERSION = "4.34.2"
"""The official kubernetes provider whose protocol, rules and state this package speaks."""
RANDOM_VERSION = "4.21.4"
"""The official random provider whose protocol and state this package speaks."""
