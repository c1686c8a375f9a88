#!/bin/sh
# Look at a report: tools/browser.sh REPORT.html OUT_FOLDER writes PNGs at two widths, light and dark, and a PDF.
# Needs Debian's chromium (apt-get install chromium); HEIGHT=2400 is the height of the pictures.
set -eu
page=$(realpath "$1")
out=${2:-.}
height=${HEIGHT:-2400}
mkdir -p "$out"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

browse() {
    "${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
        --allow-file-access-from-files --user-data-dir="$profile" "$@" >/dev/null 2>&1
}

for width in 360 1280; do
    # a window of chromium is never narrower than 500 pixels, a frame may be
    cat >"$profile/frame.html" <<HTML
<!doctype html><style>body{margin:0}iframe{border:0;width:${width}px;height:${height}px}</style>
<iframe src="file://$page${FRAGMENT:-}"></iframe>
HTML
    for scheme in dark:0 light:1; do
        browse --blink-settings=preferredColorScheme="${scheme#*:}" --window-size="$width,$height" \
            --screenshot="$out/$width-${scheme%:*}.png" "file://$profile/frame.html"
    done
done
browse --no-pdf-header-footer --print-to-pdf="$out/print.pdf" "file://$page"
