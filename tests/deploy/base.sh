#!/bin/bash
# Commits a base image NAME for buildah where no registry has one: a minimal Debian with its Python.
# Called as root:  base.sh NAME DIRECTORY BUILDAH-OPTION…
set -euo pipefail
name=$1 directory=$2 && shift 2

debootstrap --variant=minbase --include=ca-certificates,python3-pip,python3-venv bookworm "$directory"
rm -rf "$directory"/var/{cache/apt/archives,lib/apt/lists}/* "$directory"/usr/lib/python3*/EXTERNALLY-MANAGED
ln -s /usr/bin/python3 "$directory/usr/local/bin/python"
# The registry's certificate may be one that this machine alone knows.
cp /etc/ssl/certs/ca-certificates.crt "$directory/etc/ssl/certs/"

container=$(buildah "$@" from scratch)
tar -C "$directory" -cf "$directory.tar" .
buildah "$@" add --quiet "$container" "$directory.tar" /
buildah "$@" commit --quiet --rm "$container" "$name"
rm -rf "$directory" "$directory.tar"
