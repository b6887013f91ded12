#!/usr/bin/env bash
# Take the picture of a report: docs/tools/picture.sh REPORT.html docs/images/report.png
# Needs Chromium.
set -euo pipefail
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
    --hide-scrollbars --user-data-dir="$profile" --window-size="${SIZE:-1000,955}" \
    --screenshot="$(realpath "$2")" "file://$(realpath "$1")" 2>/dev/null
