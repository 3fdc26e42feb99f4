"""The load generator and its ledger: who publishes, who consumes, and who judges.

One publisher and one consumer a group run beside each other and share a folder: each writes its own
ledger file there, and `verify` reads them all. See validation/ledger_file.py for what lies in them.
"""
