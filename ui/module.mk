# SPDX-License-Identifier: GPL-2.0-or-later
# The web page: ui/dist, anew when a source changed. Needs npm once, for ui/node_modules.
UI_PROTOS := proto/types.proto proto/gateway.proto proto/ui.proto
UI_SRCS := $(wildcard ui/src/*.ts* ui/src/*.css ui/src/*/*.ts* ui/public/*) ui/index.html \
	ui/vite.config.ts ui/tsconfig.json

ui: ui/dist/index.html

# Looked at each time: nothing else notices modules that are gone. One at a time, for two makes.
ui-modules:
	@cd ui && flock package.json sh -c '[ node_modules/.package-lock.json -nt package-lock.json ] || { \
		echo "  npm ui"; npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && \
		touch node_modules/.package-lock.json; }'

ui/gen/ui_pb.ts: $(UI_PROTOS) ui/package-lock.json | ui-modules
	@mkdir -p $(@D)
	@protoc -I proto --plugin=protoc-gen-es=ui/node_modules/.bin/protoc-gen-es --es_out=ui/gen \
		--es_opt=target=ts,import_extension=none $(UI_PROTOS)

ui/dist/index.html: $(UI_SRCS) ui/gen/ui_pb.ts ui/package-lock.json | ui-modules
	@echo "  web ui/dist"
	@cd ui && node_modules/.bin/tsc --noEmit && node_modules/.bin/vite build --logLevel warn

.PHONY: ui-modules
