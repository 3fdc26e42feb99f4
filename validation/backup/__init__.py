"""Backups of the database: dumped in one snapshot, restored to see whether that works, and compared with the snapshot.

`making.py` runs beside the data, in a pod (`python -m validation.backup`), `folder.py` where the backup is kept.
"""
