#!/bin/bash
# Becomes a container's first process, as an engine starts it with a read-only root, /tmp in memory,
# a new volume for the state and no privileges, on this machine's network. Called under unshare:
#   container.sh ROOT USER GROUP DIRECTORY [NAME=VALUE]… COMMAND [ARGUMENT]…
set -euo pipefail
root=$1 user=$2 group=$3 directory=$4 && shift 4
state=$root/var/lib/abcd2bioschema

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
if [ -d "$state" ]; then
  mount -t tmpfs -o "$(stat --format=uid=%u,gid=%g,mode=%a "$state")" tmpfs "$state"
fi
mount -o remount,bind,ro "$root"

exec chroot "$root" setpriv --reuid="$user" --regid="$group" --clear-groups --bounding-set=-all \
  --no-new-privs env --ignore-environment --chdir="$directory" "$@"
