# SPDX-License-Identifier: GPL-2.0-or-later
LIBS-gateway := -lwebsockets
LIBS-gateway-core := -lprotobuf-nanopb -lsodium
