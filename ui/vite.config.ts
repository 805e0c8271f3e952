// SPDX-License-Identifier: GPL-2.0-or-later
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the page's policy allows no data: address
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
