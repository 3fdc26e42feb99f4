"""The stand-in `kubernetes` provider: official type tokens, state and rules, server-side apply.

provider.py serves the protocol; operations.py talks to the cluster through client.py;
inputs.py, diffing.py, replacing.py, state.py and the judges of waits/ are pure. The rules
follow pulumi-kubernetes v4 (https://github.com/pulumi/pulumi-kubernetes). Left out: Helm,
YAML and Kustomize resources, `*Patch` and `*List` kinds, client-side apply.
"""
