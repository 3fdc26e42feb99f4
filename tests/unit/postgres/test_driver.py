"""Addresses, positions and names, as text."""

from __future__ import annotations

import pytest

from adapters.postgres.catalog import Table
from adapters.postgres.driver import Address, lsn, lsn_text
from adapters.postgres.errors import InvalidAddress


def test_an_address_is_read_from_a_url_and_never_repeats_it() -> None:
    read = Address.parse("postgresql://me:p%40ss@db.example:6000/trading?sslmode=verify-full&sslrootcert=/ca.crt")
    assert read == Address("db.example", 6000, "trading", "me", "p@ss", "verify-full", "/ca.crt")
    assert read.environment["PGPASSWORD"] == "p@ss"
    for bad in ("postgresql://me:s3cret@[::1/x", "postgresql:///trading?password=s3cret"):
        with pytest.raises(InvalidAddress) as error:
            Address.parse(bad)
        assert "s3cret" not in str(error.value)


def test_an_lsn_is_read_and_written() -> None:
    assert lsn_text(lsn("16/B374D848")) == "16/B374D848"
    assert lsn("1/0") == 1 << 32


def test_a_table_prints_its_name() -> None:
    assert str(Table("a", "b", ())) == "a.b"
