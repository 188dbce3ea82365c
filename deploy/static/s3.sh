#!/bin/sh
# Copies a static edition (docs/static-edition.md) to a bucket of S3 or anything with its protocol:
# s3.sh EDITION s3://BUCKET/PATH. Files first, edition.json last, which switches; nothing is deleted.
set -eu
edition=$1
bucket=$2
lasting="public, max-age=31536000, immutable"
# The store sends what it has, so that it gets the gzip form under the plain name. Fonts and pictures
# have none.
copy() {
  if [ -f "$edition/$1.gz" ]; then
    aws s3 cp --quiet "$edition/$1.gz" "$bucket/$1" --content-encoding gzip --content-type "$2" --cache-control "$3"
  else
    aws s3 cp --quiet "$edition/$1" "$bucket/$1" --content-type "$2" --cache-control "$3"
  fi
}
type_of() {
  case $1 in
    *.html) echo "text/html; charset=utf-8" ;;
    *.js) echo "text/javascript; charset=utf-8" ;;
    *.css) echo "text/css; charset=utf-8" ;;
    *.json) echo "application/json" ;;
    *.webmanifest) echo "application/manifest+json" ;;
    *.svg) echo "image/svg+xml" ;;
    *.png) echo "image/png" ;;
    *.woff2) echo "font/woff2" ;;
    *) echo "application/octet-stream" ;;
  esac
}
there=$(mktemp)
trap 'rm -f "$there"' EXIT
aws s3 ls --recursive "$bucket/files/" | awk '{print $4}' | sed 's|.*files/|files/|' > "$there" || true
(cd "$edition" && find files -type f ! -name '*.gz' ! -name '*.br') | while read -r path; do
  grep -qxF "$path" "$there" || copy "$path" "$(type_of "$path")" "$lasting"
done
for path in icon-192.png icon-512.png app.webmanifest boot.js sw.js wall.html index.html edition.json; do
  copy "$path" "$(type_of "$path")" "no-cache"
done
