#!/bin/sh
# Copies a static edition (docs/static-edition.md) to S3 or a store with its protocol, by the AWS CLI:
# s3.sh EDITION s3://BUCKET/PATH. New files first, edition.json last, which switches. Nothing is
# deleted. Objects have one form each: let the CDN before the store compress them.
set -eu
aws s3 sync "$1/files" "$2/files" --size-only --exclude "*.gz" --exclude "*.br" \
  --cache-control "public, max-age=31536000, immutable"
aws s3 sync "$1" "$2" --exclude "files/*" --exclude "*.gz" --exclude "*.br" \
  --exclude edition.json --cache-control no-cache
aws s3 cp "$1/edition.json" "$2/edition.json" --cache-control no-cache
