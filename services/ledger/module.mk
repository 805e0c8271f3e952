# SPDX-License-Identifier: GPL-2.0-or-later
LIBS-ledger := -lsqlite3 -lsecp256k1
# nettle: the unit tests check keccak256 against it
LIBS-ledger-core := -lsecp256k1 -lnettle
